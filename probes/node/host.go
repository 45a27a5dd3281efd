package node

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/view"
)

const (
	hostShare = 20               // a reading in vain is followed by a pause of that many times its duration
	hostAge   = 30 * time.Second // the table is read again after that, although the kernel reports no change
)

// host is the view of the host: the mounts of one process, by default the first one. Its table has thousands of lines
// and every look needs it, so it is read only when the kernel says that it has changed. For that the file is held
// open, which pins the mount namespace: unlike a container's, that of the host lives as long as the node. It is
// safe for concurrent use.
type host struct {
	root  string
	pid   int
	share int
	age   time.Duration

	mu      sync.Mutex
	process *proc.Process
	file    *os.File
	reader  mountinfo.Reader
	table   *view.HostTable
	read    time.Time
	rested  time.Time // while there is no table, not read again before that
	closed  bool
}

func newHost(root string, pid int) *host {
	return &host{root: root, pid: pid, share: hostShare, age: hostAge}
}

// view returns the host's table as it is now, and the process that sees it. A table that cannot be had is nil: it proves
// nothing.
func (h *host) view() (*view.HostTable, *proc.Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.current() {
		return h.table, h.process
	}
	began := time.Now()
	if err := h.refresh(); err != nil {
		h.release()
	}
	h.read = time.Now()
	h.rested = h.read.Add(time.Duration(h.share) * h.read.Sub(began))
	return h.table, h.process
}

// current reports whether there is no need to read the table, or no right to do so yet.
func (h *host) current() bool {
	now := time.Now()
	switch {
	case h.table == nil:
		return now.Before(h.rested)
	case now.Sub(h.read) >= h.age:
		return false
	}
	changed, err := h.changed()
	return err == nil && !changed
}

func (h *host) changed() (changed bool, err error) {
	raw, err := h.file.SyscallConn()
	if err != nil {
		return false, err
	}
	var answer error
	err = raw.Control(func(fd uintptr) { changed, answer = sys.MountsChanged(int(fd)) })
	return changed, errors.Join(err, answer)
}

func (h *host) refresh() error {
	if err := h.hold(); err != nil {
		return err
	}
	if _, err := h.file.Seek(0, 0); err != nil {
		return fmt.Errorf("read the host's mount table: %w", err)
	}
	table, err := h.reader.Read(h.file, nil)
	if err != nil {
		return err
	}
	h.table = view.NewHostTable(table)
	return nil
}

// hold takes hold of the process and its table, anew when it has exited.
func (h *host) hold() error {
	if h.process != nil && h.process.Check() == nil {
		return nil
	}
	h.release()
	process, err := proc.Hold(h.root, h.pid)
	if err != nil {
		return err
	}
	h.process = process
	return process.Hand(func(dir int) error {
		fd, err := sys.OpenQuietAt(dir, "mountinfo")
		if err == nil {
			h.file = os.NewFile(uintptr(fd), "the host's mount table")
		}
		return err
	})
}

func (h *host) release() {
	if h.file != nil {
		_ = h.file.Close() // read only
	}
	if h.process != nil {
		h.process.Release()
	}
	h.process, h.file, h.table = nil, nil, nil
}

func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.release()
}
