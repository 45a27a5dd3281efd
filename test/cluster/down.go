package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/cluster/internal/cgroup"
	"github.com/mountwarden/mountwarden/test/cluster/internal/host"
	"github.com/mountwarden/mountwarden/test/cluster/internal/supervise"
)

// downLimit is how long the kernel has to end every process of the cluster.
const downLimit = time.Minute

func (a *app) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the cluster and remove all of it but its logs; does nothing if there is none",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			release, err := a.lock(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer release()
			return a.down(cmd.Context())
		},
	}
}

func (a *app) down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, downLimit)
	defer cancel()
	if err := a.kill(ctx); err != nil {
		return err
	}
	return a.wipe(ctx)
}

// kill ends the supervisor; the kernel ends with it every process and every mount of its namespaces.
func (a *app) kill(ctx context.Context) error {
	pid, pidfd, err := a.client().PID(ctx)
	if errors.Is(err, supervise.ErrDown) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill the supervisor, process %d: %w", pid, err)
	}
	if err := awaitExit(ctx, pidfd); err != nil {
		return fmt.Errorf("the supervisor, process %d, was killed but cannot end before every process of "+
			"its pid namespace has; one may hang in a file system (state D in ps): %w", pid, err)
	}
	return nil
}

// awaitExit waits for a process: a pidfd is readable once it has ended (pidfd_open(2)), which for
// pid 1 of a namespace is after all the others.
func awaitExit(ctx context.Context, pidfd int) error {
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(pollEvery.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
	return ctx.Err()
}

// wipe removes what a dead cluster leaves: its cgroups, and its files but for the logs. Its mounts
// are gone with its namespaces, so nothing but its own files is below its folder.
func (a *app) wipe(ctx context.Context) error {
	hierarchies, err := host.Hierarchies()
	if err != nil {
		return err
	}
	if err := cgroup.Remove(ctx, hierarchies, a.layout.Cgroup()); err != nil {
		return err
	}
	entries, err := os.ReadDir(a.layout.Dir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the cluster's folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() == filepath.Base(a.layout.Logs()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(a.layout.Dir(), e.Name())); err != nil {
			return fmt.Errorf("remove the cluster's files: %w", err)
		}
	}
	return nil
}
