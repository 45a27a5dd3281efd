package events

import (
	"os"
	"path/filepath"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// errorCount is the watched errors_count of an ext4 file system.
type errorCount struct {
	fd    int
	id    uint64 // of fd in the poller
	count string
}

// countsErrors reports whether the driver of ext4 serves the file system.
func countsErrors(fsType string) bool {
	return fsType == "ext4" || fsType == "ext3" || fsType == "ext2"
}

// watchErrors holds the errors_count of the device's file system. The kernel does not announce an unmount, so one that
// is held is asked whether it is that of a former file system.
func (w *Watcher) watchErrors(device mountinfo.Device) {
	if e := w.errors[device]; e != nil {
		if _, err := readCount(e.fd); err == nil {
			return
		}
		w.dropErrors(device)
	}
	if !w.ext4.Available || len(w.errors) >= maxDevices {
		return
	}
	if e := w.openErrors(device); e != nil {
		w.errors[device] = e
	}
}

// openErrors returns nil when the file system does not tell.
func (w *Watcher) openErrors(device mountinfo.Device) *errorCount {
	link, err := os.Readlink(filepath.Join(w.opts.SysRoot, "dev/block", device.String()))
	if err != nil {
		return nil
	}
	fd, err := sys.OpenText(filepath.Join(w.opts.SysRoot, "fs/ext4", filepath.Base(link), "errors_count"))
	if err != nil {
		return nil
	}
	e := &errorCount{fd: fd}
	if e.count, err = readCount(fd); err == nil { // a read is what the kernel compares with
		e.id, err = w.poller.add(fd, sys.PollPri, func() { w.errorsCounted(device) })
	}
	if err != nil {
		sys.Close(fd)
		return nil
	}
	return e
}

// errorsCounted announces a count that has changed, and lets go of one that cannot be read any more.
func (w *Watcher) errorsCounted(device mountinfo.Device) {
	e := w.errors[device]
	count, err := readCount(e.fd)
	if err != nil {
		w.dropErrors(device)
		return
	}
	if count == e.count {
		return
	}
	e.count = count
	for uid, p := range w.pods {
		if p.errors[device] {
			w.queue.announce(uid, probes.TriggerFileSystemError)
		}
	}
}

func (w *Watcher) dropErrors(device mountinfo.Device) {
	e := w.errors[device]
	w.poller.remove(e.id)
	sys.Close(e.fd)
	delete(w.errors, device)
}

func readCount(fd int) (string, error) {
	buf := make([]byte, 32)
	n, err := sys.ReadStart(fd, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
