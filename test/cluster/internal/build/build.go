package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/mountwarden/mountwarden/test/cluster/internal/filelock"
)

// stopWithin is how long an interrupted `go build` has to remove its temporary files.
const stopWithin = 10 * time.Second

// Builder builds programs into a cache.
type Builder struct {
	Modules  string        // folder of the pinned modules
	Cache    string        // folder that keeps the results; made when missing
	Home     string        // for the go command's own caches when HOME is not set
	Progress io.Writer     // one line a program built, and one every Every while it is built
	Every    time.Duration // 0 is 15 s
}

// Build returns the path of each program, having built those that the cache lacks. Two processes
// that build into one cache take turns.
func (b Builder) Build(ctx context.Context, tools ...Tool) (map[string]string, error) {
	release, err := filelock.Acquire(ctx, filepath.Join(b.Cache, "lock"), func() {
		fmt.Fprintln(b.Progress, "waiting for another build to end")
	})
	if err != nil {
		return nil, err
	}
	defer release()
	paths := make(map[string]string, len(tools))
	for i, t := range tools {
		place := fmt.Sprintf("%s (%d of %d)", t.Name, i+1, len(tools))
		if paths[t.Name], err = b.one(ctx, t, place); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func (b Builder) one(ctx context.Context, t Tool, place string) (string, error) {
	r, err := newRecipe(b.Modules, t)
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.Cache, r.key, t.Name)
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return path, nil
	}
	done := b.report(place)
	defer done()
	return path, b.compile(ctx, t, r, path)
}

// compile builds into a temporary folder beside path and renames the result.
func (b Builder) compile(ctx context.Context, t Tool, r recipe, path string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	half, err := os.MkdirTemp(filepath.Dir(path), ".half-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(half)) }()
	out := filepath.Join(half, t.Name)
	args := append(append([]string{"build"}, r.flags...), "-o", out, t.Package)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(b.Modules, t.Module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "HOME="+b.Home)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopWithin
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", t.Name, cmd.Dir, err, said.Bytes())
	}
	return os.Rename(out, path)
}

// report says that place is being built, again and again, until the function it returns is called.
func (b Builder) report(place string) (done func()) {
	every := b.Every
	if every == 0 {
		every = 15 * time.Second
	}
	fmt.Fprintf(b.Progress, "building %s\n", place)
	start, stop, stopped := time.Now(), make(chan struct{}), make(chan struct{})
	elapsed := func() time.Duration { return time.Since(start).Round(time.Second) }
	go func() {
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				fmt.Fprintf(b.Progress, "building %s, %s so far\n", place, elapsed())
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
		fmt.Fprintf(b.Progress, "building %s took %s\n", place, elapsed())
	}
}
