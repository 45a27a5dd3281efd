package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mountwarden/mountwarden/test/cluster/internal/node"
	"github.com/mountwarden/mountwarden/test/cluster/internal/space"
	"github.com/mountwarden/mountwarden/test/cluster/internal/supervise"
)

const (
	pollEvery = 100 * time.Millisecond
	sayEvery  = 15 * time.Second
)

// superviseCommand is what runs as pid 1 of the cluster.
func (a *app) superviseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "supervise", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.supervise(cmd.Context()) },
	}
}

func (a *app) supervise(ctx context.Context) error {
	inside := space.Inside{
		Dir: a.layout.Covered(), Kubelet: a.layout.Kubelet(),
		Addrs: []string{node.NodeCIDR}, Local: []string{node.ServiceIP + "/32"},
	}
	if err := inside.Furnish(ctx); err != nil {
		return err
	}
	listener, err := supervise.Listen(a.layout.Dir())
	if err != nil {
		return err
	}
	s := supervise.New(a.layout.Logs(), a.layout.Components())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var run sync.WaitGroup
	run.Go(func() { s.Run(ctx) })
	err = s.Serve(ctx, listener)
	cancel() // a cluster that nobody can talk to is of no use
	run.Wait()
	return err
}

// spawn starts this program again as pid 1 of new namespaces. It outlives us.
func (a *app) spawn() (*supervisorProcess, error) {
	log, err := os.Create(supervise.LogFile(a.layout.Logs(), "supervisor"))
	if err != nil {
		return nil, fmt.Errorf("make the supervisor's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", //nolint:noctx // it outlives this process
		"supervise", "--name", a.name, "--cache", a.layout.Cache)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = "/", insideEnv(os.Environ()), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // ^C is for us
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	p := &supervisorProcess{ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// supervisorProcess is the supervisor as long as we are its parent. Its waiting goroutine ends with
// the process, or with this program.
type supervisorProcess struct {
	ended chan struct{}
	err   error // once ended is closed
}

// awaitUp waits until every component is ready. A component or a supervisor that dies meanwhile is
// an error with the tail of its log.
func (a *app) awaitUp(ctx context.Context, progress io.Writer, p *supervisorProcess) error {
	tick, say := time.NewTicker(pollEvery), time.NewTicker(sayEvery)
	defer tick.Stop()
	defer say.Stop()
	for {
		st, err := a.client().Status(ctx)
		switch {
		case err == nil && st.Phase != supervise.PhaseStarting:
			return failed(st)
		case err != nil && !errors.Is(err, supervise.ErrDown):
			return err
		}
		select {
		case <-p.ended:
			return fmt.Errorf("the supervisor ended: %w\n%s", p.err,
				supervise.Tail(supervise.LogFile(a.layout.Logs(), "supervisor")))
		case <-ctx.Done():
			return fmt.Errorf("cluster %s is not up: %w%s", a.name, ctx.Err(), notYet(st))
		case <-say.C:
			fmt.Fprintf(progress, "waiting for the cluster's components%s\n", notYet(st))
		case <-tick.C:
		}
	}
}

// notYet lists the components that run but are not ready, and why.
func notYet(st supervise.Status) string {
	var b strings.Builder
	for _, c := range st.Components {
		if c.State == supervise.Starting {
			fmt.Fprintf(&b, "\n  %s: %s", c.Name, c.NotYet)
		}
	}
	return b.String()
}

// errComponent is wrapped when a component has died.
var errComponent = errors.New("a component has died")

// failed names the components that died, each with the tail of its log; nil if there are none.
func failed(st supervise.Status) error {
	var errs []error
	for _, c := range st.Components {
		if c.State == supervise.Died {
			errs = append(errs, fmt.Errorf("%w: %s: %s; the end of its log:\n%s", errComponent, c.Name, c.Ended, c.LogTail))
		}
	}
	return errors.Join(errs...)
}

func (a *app) client() supervise.Client { return supervise.Client{Dir: a.layout.Dir()} }
