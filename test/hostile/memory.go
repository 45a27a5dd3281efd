package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The table has copies times (each + 1) lines: less than the 20,000 that the agent reads
// (mountinfo.MaxLines). A line is as long as makes that a little less than the 8 MiB that it reads
// (mountinfo.MaxBytes).
const (
	copies    = 126
	each      = 150
	lineBytes = 415
	// otherBytes is about what a line has beside the root and the mount point.
	otherBytes = 60
	// indexBytes is how long the name of a mount point is, in the directory of its copy.
	indexBytes = 20
)

// fillTable makes mounts below the directory until the mount table of this process is as long as
// the agent reads. Only the first process of a container has the table that the agent reads, and a
// Go program has threads before it begins, which unshare(2) does not allow of who makes a user
// namespace. So it expects to be started by unshare(1), in namespaces of its own.
func fillTable(ctx context.Context, directory string, out io.Writer) error {
	if err := unix.Mount("none", directory, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", directory, err)
	}
	name := (lineBytes - otherBytes - indexBytes - len(directory)) / 2
	source := filepath.Join(directory, strings.Repeat("s", name))
	if err := os.Mkdir(source, 0o755); err != nil {
		return err
	}
	first := filepath.Join(directory, fmt.Sprintf("%0*d", name, 0))
	for i := range each {
		if err := bindMount(source, filepath.Join(first, fmt.Sprintf("%0*d", indexBytes, i)), 0); err != nil {
			return err
		}
	}
	for i := range copies - 1 { // the kernel copies a tree in much less time than it mounts each part
		if err := bindMount(first, filepath.Join(directory, fmt.Sprintf("%0*d", name, i+1)), unix.MS_REC); err != nil {
			return err
		}
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d mounts, %d bytes\n", UnderWay, bytes.Count(table, []byte("\n")), len(table))
	<-ctx.Done()
	return nil
}

// bindMount makes the directory target and mounts source there.
func bindMount(source, target string, flags uintptr) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|flags, ""); err != nil {
		return fmt.Errorf("bind mount %s on %s: %w", source, target, err)
	}
	return nil
}
