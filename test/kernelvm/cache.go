package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

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
	unlock, err = lockFolder(ctx, c.dir, c.progress)
	if err != nil {
		return nil, err
	}
	left, _ := filepath.Glob(filepath.Join(c.dir, halfPrefix+"*")) // the pattern is good
	for _, half := range left {
		err = errors.Join(err, os.RemoveAll(half))
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
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
