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
	hostPauseFactor = 20               // after a failed reading, pause this many times as long as it took
	hostTableMaxAge = 30 * time.Second // read again after this time even if the kernel reports no change
)

// hostTableCache caches the mount table of the host, which is that of one process, by default the
// first one. The table has thousands of lines and every probe needs it, so it is read only when the
// kernel reports a change (proc_pid_mountinfo(5), poll(2)). For that the file stays open, which
// pins the mount namespace: unlike a container's, that of the host lives as long as the node. It is
// safe for concurrent use.
type hostTableCache struct {
	root        string
	pid         int
	pauseFactor int
	maxAge      time.Duration

	mu       sync.Mutex
	process  *proc.Process
	file     *os.File
	reader   mountinfo.Reader
	table    *view.HostTable
	lastRead time.Time
	retryAt  time.Time // while there is no table, it is not read before this time
	closed   bool
}

func newHostTableCache(root string, pid int) *hostTableCache {
	return &hostTableCache{root: root, pid: pid, pauseFactor: hostPauseFactor, maxAge: hostTableMaxAge}
}

// currentTable returns the current table of the host, and the process whose table it is. The table
// is nil if it cannot be read, and proves nothing then.
func (h *hostTableCache) currentTable() (*view.HostTable, *proc.Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.isCurrent() {
		return h.table, h.process
	}
	began := time.Now()
	if err := h.refreshTable(); err != nil {
		h.releaseProcess()
	}
	h.lastRead = time.Now()
	h.retryAt = h.lastRead.Add(time.Duration(h.pauseFactor) * h.lastRead.Sub(began))
	return h.table, h.process
}

// isCurrent reports whether the table need not be read, or must not be read yet.
func (h *hostTableCache) isCurrent() bool {
	now := time.Now()
	switch {
	case h.table == nil:
		return now.Before(h.retryAt)
	case now.Sub(h.lastRead) >= h.maxAge:
		return false
	}
	changed, err := h.hasChanged()
	return err == nil && !changed
}

func (h *hostTableCache) hasChanged() (changed bool, err error) {
	raw, err := h.file.SyscallConn()
	if err != nil {
		return false, err
	}
	var answer error
	err = raw.Control(func(fd uintptr) { changed, answer = sys.MountsChanged(int(fd)) })
	return changed, errors.Join(err, answer)
}

func (h *hostTableCache) refreshTable() error {
	if err := h.holdProcess(); err != nil {
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

// holdProcess opens the process and its table, again if the process has exited.
func (h *hostTableCache) holdProcess() error {
	if h.process != nil && h.process.Check() == nil {
		return nil
	}
	h.releaseProcess()
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

func (h *hostTableCache) releaseProcess() {
	if h.file != nil {
		_ = h.file.Close() // read only
	}
	if h.process != nil {
		h.process.Release()
	}
	h.process, h.file, h.table = nil, nil, nil
}

func (h *hostTableCache) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.releaseProcess()
}
