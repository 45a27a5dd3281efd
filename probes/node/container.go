package node

import (
	"errors"
	"path"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
)

var (
	errNoMounts   = errors.New("the mount table is empty")
	errNotRunning = errors.New("the container does not run")
)

// container is one container of a look, through whose process its mounts are seen.
type container struct {
	name   string
	mounts []probes.Mount
	points []string // where all its volumes are mounted
	self   bool     // it is this process: paths need not be mount points
	memory *memory

	process *proc.Process
	share   *tableShare // of its look; nil: it is no pod's
	host    *host       // it is the host, whose table is there already
	table   *mountinfo.Table
	bytes   int   // of the share that the table takes
	reading int   // how often the table was read
	err     error // why there is no table
}

// open finds the process of a container and reads its table.
func (p *Prober) open(c *probes.Container, share *tableShare) *container {
	o := &container{name: c.Name, mounts: c.Mounts, points: points(c), share: share}
	if c.ID == "" {
		o.memory, o.err = newMemory(), errNotRunning
		return o
	}
	o.memory = p.memories.of(c.ID)
	o.process, o.err = p.finder.Find(c.ID)
	o.read()
	return o
}

func points(c *probes.Container) []string {
	all := make([]string, 0, len(c.Mounts)+len(c.Others))
	for i := range c.Mounts {
		all = append(all, path.Clean(c.Mounts[i].Path))
	}
	return append(all, c.Others...)
}

func (c *container) read() {
	if c.err != nil {
		return
	}
	c.reading++
	if c.host != nil {
		c.readHostTable()
		return
	}
	c.releaseTable()
	c.table, c.err = c.memory.read(c.process, c.growTable)
	if c.err != nil {
		c.releaseTable()
	}
}

// readHostTable takes the host's table as it is now.
func (c *container) readHostTable() {
	view, process := c.host.view()
	if c.table, c.process = view.Table(), process; c.table == nil {
		c.err = errNoHost
	}
}

// growTable takes memory for the table.
func (c *container) growTable(bytes int) error {
	if c.share == nil {
		return nil
	}
	err := c.share.growBy(bytes)
	if err == nil {
		c.bytes += bytes
	}
	return err
}

// releaseTable gives the memory of the table back.
func (c *container) releaseTable() {
	if c.share != nil {
		c.share.shrinkBy(c.bytes)
	}
	c.table, c.bytes = nil, 0
}

// hasNoProcess reports whether the container cannot be looked into because nothing of it runs where it can be seen. It
// ended, cannot be started, or its runtime hides it.
func (c *container) hasNoProcess() bool {
	for _, none := range []error{errNotRunning, proc.ErrNotFound, proc.ErrGone} {
		if errors.Is(c.err, none) {
			return true
		}
	}
	return false
}
