package faultfs

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"
)

// DefaultCanary and DefaultSource are what empty Options fields mean; FSType is the
// type of the mount in mountinfo.
const (
	DefaultCanary = "canary"
	DefaultSource = "faultfs"
	FSType        = "fuse.faultfs"
)

// Options say what is mounted where.
type Options struct {
	// Mountpoint is an existing directory, as an absolute path.
	Mountpoint string
	// Control is the Unix socket on which faults are switched, as an absolute path
	// of at most 107 bytes (unix(7)). Start makes one up when it is empty.
	Control string
	// Canary is the name of the file in the root, DefaultCanary when empty, and
	// Content what it holds.
	Canary, Content string
	// Source is the mount's source in mountinfo, DefaultSource when empty.
	Source string
	// OwnerOnly mounts without allow_other: all users but root's are refused, and
	// statfs of the dead mount answers all zeros.
	OwnerOnly bool
	// Owner is the user and the group that the mount belongs to. With OwnerOnly and another than 0
	// even root is refused; the server itself runs as whoever starts it.
	Owner uint32
	// ReadOnly mounts with MS_RDONLY.
	ReadOnly bool
	// CacheFor lets the kernel keep attributes, names and file content for that
	// long. At 0 every stat and read reaches the server.
	CacheFor time.Duration
	// Backend is a file that stands for a server behind the file system, as an absolute path. While
	// it is missing, statfs and lookup hang. Empty means that there is no such server.
	Backend string
	// BackendGrace is how long a new mount answers without its Backend, DefaultBackendGrace when 0.
	BackendGrace time.Duration
}

// maxSocketPath is sun_path less its closing zero byte.
const maxSocketPath = 107

func (o *Options) validate() error {
	switch {
	case !filepath.IsAbs(o.Mountpoint):
		return fmt.Errorf("mountpoint %q %w: give an absolute path", o.Mountpoint, ErrUsage)
	case !filepath.IsAbs(o.Control) || len(o.Control) > maxSocketPath:
		return fmt.Errorf("control %q %w: give an absolute path of at most %d bytes", o.Control, ErrUsage, maxSocketPath)
	case strings.Contains(o.Canary, "/") || o.Canary == "." || o.Canary == "..":
		return fmt.Errorf("canary %q %w: give a file name without a slash", o.Canary, ErrUsage)
	case o.CacheFor < 0:
		return fmt.Errorf("cache-for %v %w: give a duration of 0 or more", o.CacheFor, ErrUsage)
	case o.Backend != "" && !filepath.IsAbs(o.Backend):
		return fmt.Errorf("backend %q %w: give an absolute path, or nothing", o.Backend, ErrUsage)
	case o.BackendGrace < 0:
		return fmt.Errorf("backend-grace %v %w: give a duration of 0 or more", o.BackendGrace, ErrUsage)
	}
	return nil
}

func (o *Options) canary() string { return cmp.Or(o.Canary, DefaultCanary) }
func (o *Options) source() string { return cmp.Or(o.Source, DefaultSource) }

func (o *Options) backendGrace() time.Duration { return cmp.Or(o.BackendGrace, DefaultBackendGrace) }

// args are the flags that parseOptions reads back to o.
func (o *Options) args() []string {
	return []string{
		"--mountpoint=" + o.Mountpoint,
		"--control=" + o.Control,
		"--canary=" + o.canary(),
		"--content=" + o.Content,
		"--source=" + o.source(),
		fmt.Sprintf("--allow-other=%t", !o.OwnerOnly),
		fmt.Sprintf("--owner=%d", o.Owner),
		fmt.Sprintf("--read-only=%t", o.ReadOnly),
		"--cache-for=" + o.CacheFor.String(),
		"--backend=" + o.Backend,
		"--backend-grace=" + o.backendGrace().String(),
	}
}

func parseOptions(args []string) (Options, error) {
	var o Options
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&o.Mountpoint, "mountpoint", "", "existing `DIR` to mount on, an absolute path")
	flags.StringVar(&o.Control, "control", "", "Unix `SOCKET` to switch faults on, an absolute path")
	flags.StringVar(&o.Canary, "canary", DefaultCanary, "`NAME` of the file in the root")
	flags.StringVar(&o.Content, "content", "", "`TEXT` that the canary holds")
	flags.StringVar(&o.Source, "source", DefaultSource, "`NAME` of the mount's source in mountinfo")
	allowOther := flags.Bool("allow-other", true, "let all users in")
	owner := flags.Uint("owner", 0, "`UID` and gid that the mount belongs to")
	flags.BoolVar(&o.ReadOnly, "read-only", false, "mount read-only")
	flags.DurationVar(&o.CacheFor, "cache-for", 0, "how long the kernel may keep attributes, names and content")
	flags.StringVar(&o.Backend, "backend", "", "`FILE` without which statfs and lookup hang, an absolute path; empty for none")
	flags.DurationVar(&o.BackendGrace, "backend-grace", DefaultBackendGrace, "how long a new mount answers without its backend")
	if err := flags.Parse(args); err != nil {
		return o, UsageError(err)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("argument %q %w: serve takes flags only", flags.Arg(0), ErrUsage)
	}
	if *owner >= math.MaxUint32 {
		return o, fmt.Errorf("owner %d %w: give a user id below %d", *owner, ErrUsage, uint32(math.MaxUint32))
	}
	o.OwnerOnly, o.Owner = !*allowOther, uint32(*owner)
	err := o.validate()
	return o, err
}

// UsageError makes an ErrUsage of what the flag package says, but keeps flag.ErrHelp
// apart: who asked for help made no mistake.
func UsageError(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUsage, err)
}
