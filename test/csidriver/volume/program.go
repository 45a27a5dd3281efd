package volume

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/internal/packages"
)

// A program is a FUSE server of the distribution that volumes may choose.
type program struct {
	packages []packages.Package
	// line is the command line that mounts v and stays in the foreground.
	line func(v Volume, cacheDir string) []string
}

// programs are the values of Content.Program, one row each.
func programs() map[string]program {
	return map[string]program{
		"rclone": {
			packages: []packages.Package{
				{Name: "rclone", There: packages.OnPath("rclone")},
				{Name: "fuse3", There: packages.OnPath("fusermount3")},
			},
			line: rcloneLine,
		},
	}
}

// Packages are those of all programs that volumes may choose, for who installs them on the node.
func Packages() []packages.Package {
	var all []packages.Package
	for _, name := range slices.Sorted(maps.Keys(programs())) {
		all = append(all, programs()[name].packages...)
	}
	return all
}

// rcloneLine mounts as wunderio/csi-rclone does by default (dir-cache-time, vfs-cache-mode,
// allow-other in nodeserver.go); the URL is one of a WebDAV server.
func rcloneLine(v Volume, cacheDir string) []string {
	argv := []string{
		"rclone", "mount", "--config", "", "--cache-dir", cacheDir, "--webdav-url", v.Content.URL,
		"--dir-cache-time", "5s", "--vfs-cache-mode", "writes", "--allow-other",
	}
	if v.ReadOnly {
		argv = append(argv, "--read-only")
	}
	argv = append(argv, strings.Fields(v.Content.Flags)...)
	return append(argv, ":webdav:", v.Path)
}

// programLine is the command line of the program that serves v, nil for faultfs. The error is a
// faultfs.ErrUsage.
func programLine(v Volume, cacheDir string) ([]string, error) {
	c := v.Content
	if c.Program == "" {
		if c.URL != "" || c.Flags != "" {
			return nil, fmt.Errorf("url %q, flags %q %w: they are for a program only", c.URL, c.Flags, faultfs.ErrUsage)
		}
		return nil, nil
	}
	chosen, ok := programs()[c.Program]
	if !ok {
		return nil, fmt.Errorf("program %q %w: use one of %q, or none for faultfs", c.Program, faultfs.ErrUsage,
			slices.Sorted(maps.Keys(programs())))
	}
	if c.URL == "" {
		return nil, fmt.Errorf("url %q %w: %s needs that of its server", c.URL, faultfs.ErrUsage, c.Program)
	}
	return chosen.line(v, cacheDir), nil
}
