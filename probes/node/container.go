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

// container is one container of a probe. Its mounts are reached through one of its processes.
type container struct {
	name         string
	mounts       []probes.Mount
	volumePoints []string // mount points of all its volumes
	self         bool     // it is this process, and paths need not be mount points
	state        *containerState

	process     *proc.Process
	reservation *tableReservation // of the pod's probe; nil outside of pods
	hostTables  *hostTableCache   // set when the container is the host, whose table is cached
	table       *mountinfo.Table
	bytes       int   // of the reservation that the table takes
	readings    int   // how often the table was read
	err         error // why there is no table
}

// openContainer finds a process of the container and reads its mount table.
func (p *Prober) openContainer(c *probes.Container, reservation *tableReservation) *container {
	o := &container{name: c.Name, mounts: c.Mounts, volumePoints: listVolumePoints(c), reservation: reservation}
	if c.ID == "" {
		o.state, o.err = newContainerState(), errNotRunning
		return o
	}
	o.state = p.states.findState(c.ID)
	o.process, o.err = p.finder.Find(c.ID)
	o.readTable()
	return o
}

func listVolumePoints(c *probes.Container) []string {
	all := make([]string, 0, len(c.Mounts)+len(c.Others))
	for i := range c.Mounts {
		all = append(all, path.Clean(c.Mounts[i].Path))
	}
	return append(all, c.Others...)
}

func (c *container) readTable() {
	if c.err != nil {
		return
	}
	c.readings++
	if c.hostTables != nil {
		c.readHostTable()
		return
	}
	c.releaseTable()
	c.table, c.err = c.state.readTable(c.process, c.growTable)
	if c.err != nil {
		c.releaseTable()
	}
}

// readHostTable takes the current table of the host.
func (c *container) readHostTable() {
	table, process := c.hostTables.currentTable()
	if c.table, c.process = table.Table(), process; c.table == nil {
		c.err = errNoHost
	}
}

// growTable reserves memory for the table.
func (c *container) growTable(bytes int) error {
	if c.reservation == nil {
		return nil
	}
	err := c.reservation.growBy(bytes)
	if err == nil {
		c.bytes += bytes
	}
	return err
}

// releaseTable drops the table and releases its memory.
func (c *container) releaseTable() {
	if c.reservation != nil {
		c.reservation.shrinkBy(c.bytes)
	}
	c.table, c.bytes = nil, 0
}

// hasNoProcess reports whether no process of the container is visible: it ended, cannot be started,
// or its runtime hides it.
func (c *container) hasNoProcess() bool {
	for _, none := range []error{errNotRunning, proc.ErrNotFound, proc.ErrGone} {
		if errors.Is(c.err, none) {
			return true
		}
	}
	return false
}
