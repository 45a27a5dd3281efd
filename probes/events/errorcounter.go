package events

import (
	"os"
	"path/filepath"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// errorCounter is the watched errors_count file of an ext4 file system.
type errorCounter struct {
	fd     int
	pollID uint64 // of fd in the poller
	count  string // as it was read last
}

// countsErrors reports whether the ext4 driver serves the file system.
func countsErrors(fsType string) bool {
	return fsType == "ext4" || fsType == "ext3" || fsType == "ext2"
}

// watchErrorCounter opens and watches the error counter of the device. The kernel does not announce
// an unmount, so a counter that is open already is read, to find out whether it belongs to an
// earlier file system (reads then fail with ENODEV).
func (w *Watcher) watchErrorCounter(device mountinfo.Device) {
	if e := w.counters[device]; e != nil {
		if _, err := readErrorCount(e.fd); err == nil {
			return
		}
		w.dropErrorCounter(device)
	}
	if !w.ext4.Available || len(w.counters) >= maxErrorCounters {
		return
	}
	if e := w.openErrorCounter(device); e != nil {
		w.counters[device] = e
	}
}

// openErrorCounter returns nil when the file system has no counter.
func (w *Watcher) openErrorCounter(device mountinfo.Device) *errorCounter {
	link, err := os.Readlink(filepath.Join(w.opts.SysRoot, "dev/block", device.String()))
	if err != nil {
		return nil
	}
	fd, err := sys.OpenText(filepath.Join(w.opts.SysRoot, "fs/ext4", filepath.Base(link), "errors_count"))
	if err != nil {
		return nil
	}
	e := &errorCounter{fd: fd}
	if e.count, err = readErrorCount(fd); err == nil { // poll reports changes since the last read
		e.pollID, err = w.poller.registerFD(fd, sys.PollPri, func() { w.handleErrorCount(device) })
	}
	if err != nil {
		sys.Close(fd)
		return nil
	}
	return e
}

// handleErrorCount announces a changed count, and drops a counter that can no longer be read.
func (w *Watcher) handleErrorCount(device mountinfo.Device) {
	e := w.counters[device]
	count, err := readErrorCount(e.fd)
	if err != nil {
		w.dropErrorCounter(device)
		return
	}
	if count == e.count {
		return
	}
	e.count = count
	for uid, p := range w.pods {
		if p.errorDevices[device] {
			w.queue.announceEvent(uid, probes.TriggerFileSystemError)
		}
	}
}

func (w *Watcher) dropErrorCounter(device mountinfo.Device) {
	e := w.counters[device]
	w.poller.unregisterFD(e.pollID)
	sys.Close(e.fd)
	delete(w.counters, device)
}

func readErrorCount(fd int) (string, error) {
	buf := make([]byte, 32)
	n, err := sys.ReadStart(fd, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
