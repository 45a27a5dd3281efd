package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/mountwarden/mountwarden/test/cluster/internal/build"
	"github.com/mountwarden/mountwarden/test/cluster/internal/cgroup"
	"github.com/mountwarden/mountwarden/test/cluster/internal/filelock"
	"github.com/mountwarden/mountwarden/test/cluster/internal/host"
	"github.com/mountwarden/mountwarden/test/cluster/internal/supervise"
)

// startLimit is how long the components have to become ready; usually it takes a quarter of a minute.
const startLimit = 5 * time.Minute

func (a *app) upCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Start the cluster; does nothing if it runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			progress := cmd.ErrOrStderr()
			release, err := a.lock(cmd.Context(), progress)
			if err != nil {
				return err
			}
			defer release()
			return a.up(cmd.Context(), progress)
		},
	}
}

func (a *app) lock(ctx context.Context, progress io.Writer) (release func(), err error) {
	return filelock.Acquire(ctx, a.layout.Lock(), func() {
		fmt.Fprintf(progress, "waiting for another up or down of %s to end\n", a.name)
	})
}

func (a *app) up(ctx context.Context, progress io.Writer) error {
	st, err := a.client().Status(ctx)
	switch {
	case err == nil && st.Phase == supervise.PhaseUp:
		if err := failed(st); err != nil {
			return fmt.Errorf("%w\nbring it back with `start`, or everything with `down` and `up`", err)
		}
		fmt.Fprintf(progress, "cluster %s is up already\n", a.name)
		return nil
	case err != nil && !errors.Is(err, supervise.ErrDown):
		return err
	}
	began := time.Now()
	if err := a.prepare(ctx, progress); err != nil {
		return err
	}
	if err := a.launch(ctx, progress); err != nil {
		// The logs stay; what runs does not.
		return errors.Join(err, a.down(context.WithoutCancel(ctx)))
	}
	fmt.Fprintf(progress, "cluster %s is up, its node Ready, after %s\n", a.name, time.Since(began).Round(time.Second/10))
	return nil
}

// prepare does all that comes before the first process of the cluster.
func (a *app) prepare(ctx context.Context, progress io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(a.layout.Dir()), 0o755); err != nil {
		return fmt.Errorf("make the folder of clusters: %w", err)
	}
	if err := host.Check(filepath.Dir(a.layout.Dir())); err != nil {
		return err
	}
	programs, err := host.Install(ctx, progress)
	if err != nil {
		return err
	}
	binaries, err := a.build(ctx, progress, build.ForCluster()...)
	if err != nil {
		return err
	}
	if err := a.down(ctx); err != nil { // a cluster that never came up, or did not end by `down`
		return err
	}
	if err := os.RemoveAll(a.layout.Dir()); err != nil {
		return fmt.Errorf("remove the state of the last cluster: %w", err)
	}
	if err := a.layout.Write(programs.CNI); err != nil {
		return err
	}
	if err := linkBinaries(a.layout.Bin(), binaries); err != nil {
		return err
	}
	return a.makeImages(ctx, programs.Busybox)
}

// linkBinaries makes the cluster's own folder of programs: it goes on with them when the pins
// change.
func linkBinaries(dir string, binaries map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of programs: %w", err)
	}
	for name, path := range binaries {
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("link program %s: %w", name, err)
		}
	}
	return nil
}

// launch starts the supervisor, waits until every component is ready and loads the images.
func (a *app) launch(ctx context.Context, progress io.Writer) error {
	hierarchies, err := host.Hierarchies()
	if err != nil {
		return err
	}
	if err := cgroup.Create(hierarchies, a.layout.Cgroup()); err != nil {
		return err
	}
	process, err := a.spawn()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := a.awaitUp(ctx, progress, process); err != nil {
		return err
	}
	images, err := filepath.Glob(filepath.Join(a.layout.Images(), "*.tar"))
	if err != nil {
		return err
	}
	return a.load(ctx, io.Discard, images)
}
