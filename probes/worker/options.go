package worker

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Options are the settings of a Pool. The zero value is valid.
type Options struct {
	WorkerPath string        // the worker binary; default: mountwarden-probe beside this executable
	MaxActive  int           // workers that may run a batch at once, parked ones apart; default 16
	MaxParked  int           // workers that may be parked; default 64
	ParkAfter  time.Duration // without an answer for that long a worker loses its slot; default 250 ms
	IdleAfter  time.Duration // idle workers beyond two are killed after that; default 10 s
	// Privileged workers keep the privileges of this process: for a process that probes its own
	// mounts with its own rights.
	Privileged bool
}

// applyDefaults fills in what is zero and refuses what cannot work.
func (o Options) applyDefaults() (Options, error) {
	if o.MaxActive < 0 || o.MaxParked < 0 || o.ParkAfter < 0 || o.IdleAfter < 0 {
		return o, fmt.Errorf("worker options: %+v: no value may be negative", o)
	}
	if o.WorkerPath == "" {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("worker options: find the worker beside this executable: %w", err)
		}
		o.WorkerPath = filepath.Join(filepath.Dir(self), workerName)
	}
	if err := checkExecutable(o.WorkerPath); err != nil {
		return o, fmt.Errorf("worker options: worker %s: %w", o.WorkerPath, err)
	}
	o.MaxActive = cmp.Or(o.MaxActive, 16)
	o.MaxParked = cmp.Or(o.MaxParked, 64)
	o.ParkAfter = cmp.Or(o.ParkAfter, 250*time.Millisecond)
	o.IdleAfter = cmp.Or(o.IdleAfter, 10*time.Second)
	return o, nil
}

func checkExecutable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return errors.New("not an executable file")
	}
	return nil
}
