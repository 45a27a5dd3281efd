package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mountwarden/mountwarden/test/cluster/internal/node"
	"github.com/mountwarden/mountwarden/test/image/oci"
)

// busyboxImage is for the containers of tests: a shell and the usual tools.
const busyboxImage = "test.local/busybox:1"

// makeImages makes the images that every new cluster has.
func (a *app) makeImages(ctx context.Context, busybox string) error {
	dir := a.layout.Images()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of images: %w", err)
	}
	pause, err := a.compilePause(ctx)
	if err != nil {
		return err
	}
	tools, err := busyboxFiles(ctx, busybox)
	if err != nil {
		return err
	}
	for name, image := range map[string]oci.Image{
		"pause":   {Ref: node.PauseImage, Platforms: native(pause), Entrypoint: []string{"/pause"}, User: "65535:65535"},
		"busybox": {Ref: busyboxImage, Platforms: native(tools...), Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin"}},
	} {
		if _, err := oci.Write(filepath.Join(dir, name+".tar"), image); err != nil {
			return err
		}
	}
	return nil
}

func native(files ...oci.File) []oci.Platform {
	return []oci.Platform{{Name: oci.Native(), Files: files}}
}

// compilePause builds the pause program of this repository; the go command keeps the result.
func (a *app) compilePause(ctx context.Context) (_ oci.File, err error) {
	b, err := a.builder(io.Discard)
	if err != nil {
		return oci.File{}, err
	}
	binary := filepath.Join(a.layout.Images(), "pause")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cluster/pause")
	cmd.Dir = filepath.Dir(b.Modules)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "HOME="+b.Home)
	if out, err := cmd.CombinedOutput(); err != nil {
		return oci.File{}, fmt.Errorf("build the pause program: %w\n%s", err, out)
	}
	defer func() { err = errors.Join(err, os.Remove(binary)) }()
	data, err := os.ReadFile(binary)
	if err != nil {
		return oci.File{}, fmt.Errorf("read the pause program: %w", err)
	}
	return oci.File{Path: "/pause", Data: data, Mode: 0o755}, nil
}

// busyboxFiles are busybox itself, a link for each tool in it, and what a shell expects around it.
func busyboxFiles(ctx context.Context, busybox string) ([]oci.File, error) {
	data, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("read busybox: %w", err)
	}
	list, err := exec.CommandContext(ctx, busybox, "--list-full").Output()
	if err != nil {
		return nil, fmt.Errorf("ask busybox for its tools: %w", err)
	}
	const self = "/bin/busybox"
	files := []oci.File{
		{Path: self, Data: data, Mode: 0o755},
		{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Path: "/etc/passwd", Data: []byte("root:x:0:0:root:/:/bin/sh\n"), Mode: 0o644},
		{Path: "/etc/group", Data: []byte("root:x:0:\n"), Mode: 0o644},
	}
	for tool := range bytes.Lines(list) {
		path := "/" + strings.TrimSpace(string(tool))
		if path != self && path != "/" {
			files = append(files, oci.File{Path: path, Link: self})
		}
	}
	return files, nil
}
