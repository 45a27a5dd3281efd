package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mountwarden/mountwarden/test/kernelvm/internal/debian"
)

// halfPrefix begins the names of folders that are being filled.
const halfPrefix = "half-"

// cache is the folder of unpacked packages. What is there is used as it is: remove a folder to have it fetched anew.
type cache struct {
	dir      string
	progress io.Writer
	apt      *debian.Root // opened when something is missing
}

// defaultCache is the folder that the other tests keep what they build in, too.
func defaultCache() (string, error) {
	if dir := os.Getenv("MOUNTWARDEN_CACHE"); dir != "" {
		return filepath.Join(dir, "kernelvm"), nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "mountwarden", "kernelvm"), err
}

// lock keeps other runs from fetching into the same folder, and waits for one that does. What a run that was killed has left is removed.
func (c *cache) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := c.await(ctx, file); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file.Name(), err), file.Close())
	}
	left, _ := filepath.Glob(filepath.Join(c.dir, halfPrefix+"*")) // the pattern is good
	for _, half := range left {
		err = errors.Join(err, os.RemoveAll(half))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil // closing unlocks
}

// await takes the lock on an open file.
func (c *cache) await(ctx context.Context, file *os.File) error {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for first := true; ; first = false {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if first {
			fmt.Fprintln(c.progress, "waiting for another run that fetches packages")
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// qemu returns the folder of QEMU.
func (c *cache) qemu(ctx context.Context) (string, error) {
	return c.folder(ctx, "qemu-10", func(to string) error { return c.apt.UnpackAll(ctx, to, qemuFrom, "qemu-system-x86") })
}

// tools returns the folder of the programs that the lab runs.
func (c *cache) tools(ctx context.Context) (string, error) {
	_, packages := programs()
	return c.folder(ctx, "tools-12", func(to string) error { return c.apt.UnpackAll(ctx, to, debian.Bookworm, packages...) })
}

// kernel returns the folder of a kernel.
func (c *cache) kernel(ctx context.Context, k kernel) (string, error) {
	return c.folder(ctx, "kernel-"+k.series, func(to string) error {
		image, err := c.apt.Newest(ctx, k.image)
		if err != nil {
			return fmt.Errorf("kernel %s: %w", k.series, err)
		}
		return c.apt.Unpack(ctx, to, k.packages(image)...)
	})
}

// folder returns the folder of a name, which fetch has filled; one that is not complete never has the name.
func (c *cache) folder(ctx context.Context, name string, fetch func(to string) error) (_ string, err error) {
	place := filepath.Join(c.dir, name)
	if _, err := os.Stat(place); err == nil {
		return place, nil
	}
	fmt.Fprintf(c.progress, "fetching %s\n", name)
	if c.apt == nil {
		if c.apt, err = debian.Open(ctx, filepath.Join(c.dir, "apt")); err != nil {
			return "", err
		}
	}
	half, err := os.MkdirTemp(c.dir, halfPrefix)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(half)) }()
	if err := errors.Join(os.Chmod(half, 0o755), fetch(half)); err != nil {
		return "", err
	}
	return place, os.Rename(half, place)
}
