package node

import (
	"errors"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
)

var errNoMounts = errors.New("the mount table is empty")

// view is a process through which mounts are seen.
type view struct {
	process *proc.Process
	table   *mountinfo.Table // the first reading, shared by all mounts of a container
	err     error            // why there is no table
}

func (p *Prober) containerView(id string) *view { return newView(p.finder.Find(id)) }

func newView(process *proc.Process, err error) *view {
	v := &view{process: process, err: err}
	if err == nil {
		v.table, v.err = v.read()
	}
	return v
}

func (v *view) first() (*mountinfo.Table, error) { return v.table, v.err }

// read reads the mount table, which never blocks on a file system. The file is closed at once: it
// pins the mount namespace.
func (v *view) read() (*mountinfo.Table, error) {
	f, err := v.process.Open("mountinfo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	t, err := mountinfo.Read(f)
	if err == nil && len(t.Mounts) == 0 {
		return nil, errNoMounts
	}
	return t, err
}
