package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
	"github.com/mountwarden/mountwarden/probes/view"
)

// Host is what a Checker needs to know of the node. The Prober of package node is one. It is safe
// for concurrent use.
type Host interface {
	// ProbeHost probes the host's mount that covers a path, within about timeout.
	ProbeHost(ctx context.Context, path string, timeout time.Duration) probes.Observation
	// Place returns what the host's mount table says about where a volume comes from.
	LocateVolume(v probes.Volume) view.VolumeOrigin
}

// Options are the settings of a Checker. All but Host may be zero.
type Options struct {
	Host        Host
	ProgramPath string // the program that asks; default: mountwarden-backend beside this executable
	ProcRoot    string // where the host's /proc is seen; default /proc
	HostPID     int    // the process whose root directory is the host's; default 1
	MaxActive   int    // questions at once; default 4
}

// withDefaults fills in defaults and rejects invalid options.
func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Host == nil:
		return o, errors.New("backend options: Host is nil; it must be given")
	case o.HostPID < 0 || o.MaxActive < 0:
		return o, fmt.Errorf("backend options: HostPID is %d and MaxActive %d: neither may be negative", o.HostPID, o.MaxActive)
	}
	if o.ProgramPath == "" {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("backend options: find the program beside this executable: %w", err)
		}
		o.ProgramPath = filepath.Join(filepath.Dir(self), ask.Program)
	}
	info, err := os.Stat(o.ProgramPath)
	if err == nil && (!info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0) {
		err = errors.New("it is no executable file")
	}
	if err != nil {
		return o, fmt.Errorf("backend options: program %q: %w", o.ProgramPath, err)
	}
	if o.ProcRoot == "" {
		o.ProcRoot = "/proc"
	}
	if o.HostPID == 0 {
		o.HostPID = 1
	}
	if o.MaxActive == 0 {
		o.MaxActive = 4
	}
	return o, nil
}
