package space

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killAfter is how long a command has to end after it was asked to.
const killAfter = 10 * time.Second

// Run starts cmd inside the namespaces of pidfd's process and waits for it. cmd was made with
// exec.CommandContext; its folder is looked up inside. When ctx ends cmd is told to end with
// SIGTERM, and killed 10 s later. The error is exec.Cmd's own, so an exit status can be read from it.
func Run(ctx context.Context, pidfd int, cmd *exec.Cmd) error {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	if err := startInside(pidfd, cmd); err != nil {
		return err
	}
	// A terminal sends ^C to the command as well as to us; from elsewhere it comes to us alone.
	stop := forward(ctx, cmd.Process)
	defer stop()
	return cmd.Wait()
}

// startInside forks from a thread that has entered the namespaces. The thread is never unlocked, so
// the Go runtime ends it with its goroutine and nothing else ever runs on it.
func startInside(pidfd int, cmd *exec.Cmd) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := enter(pidfd); err != nil {
			result <- err
			return
		}
		result <- cmd.Start()
	}()
	return <-result
}

func enter(pidfd int) error {
	// A thread that shares its working directory with others may not change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("get ready to enter the cluster: %w", err)
	}
	if err := unix.Setns(pidfd, unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWPID); err != nil {
		return fmt.Errorf("enter the cluster's namespaces (root is needed): %w", err)
	}
	return nil
}

func forward(ctx context.Context, to *os.Process) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				_ = to.Signal(s) // one that has just ended needs no signal
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		cancel()
		<-done
	}
}
