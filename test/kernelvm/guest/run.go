package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/kernelvm/internal/script"
)

// grace is for how long the output of a job that was killed is waited for: what it has left behind may hold it open.
const grace = 5 * time.Second

// run runs a job in a session of its own.
func run(job script.Job, out io.Writer) script.Ended {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), job.Within)
	defer cancel()
	cmd := exec.CommandContext(ctx, job.Command[0], job.Command[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = job.Dir, job.Env, out, out, grace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // Go programs then tell where they are
	err := cmd.Run()
	code := 0
	if err != nil {
		code = -1
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		fmt.Fprintf(out, "%s: %v\n", job.Name, err)
	}
	return script.Ended{Job: job.Name, Code: code, Took: time.Since(began).Round(time.Millisecond)}
}

// lineWriter hands on what is written to it, line by line. One goroutine at a time may use it.
type lineWriter struct {
	line func(string)
	rest []byte // of a line
}

// Write never fails.
func (w *lineWriter) Write(text []byte) (int, error) {
	w.rest = append(w.rest, text...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(text), nil
		}
		w.line(string(line))
		w.rest = rest
	}
}

// flush hands on the last line where it has no end.
func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		w.line(string(w.rest))
		w.rest = nil
	}
}

// reap ends all other processes, which are children of this one now, but for those that the kernel keeps.
func reap() {
	_ = syscall.Kill(-1, syscall.SIGKILL) // there may be none
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != nil && !errors.Is(err, unix.EINTR) || pid == 0 {
			return
		}
	}
}
