package check

import (
	"syscall"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// readCanaries reads what the pod has asked for, below the mount whose root is dir.
func (p *probe) readCanaries(dir int, r *Request) {
	if r.CanaryFile == "" && r.CanaryDirectory == "" {
		return
	}
	p.enterStage(StageCanary)
	if r.CanaryFile != "" && !p.readCanary(dir, r.CanaryFile, syscall.S_IFREG, readFirstByte) {
		return
	}
	if r.CanaryDirectory != "" {
		p.readCanary(dir, r.CanaryDirectory, syscall.S_IFDIR, readEntries)
	}
}

// readCanary opens nothing whose type is not known: to open a FIFO wakes up who waits at its other
// end, and to open a device may do anything. It reports whether the canary was read.
func (p *probe) readCanary(dir int, name string, want uint32, read func(fd int) error) bool {
	path, err := sys.OpenBeneath(dir, name)
	if !p.recordErrno(err) {
		return false
	}
	defer sys.Close(path)
	got, err := sys.FileType(path)
	if !p.recordErrno(err) {
		return false
	}
	if got != want {
		p.answer.WrongType = true
		return false
	}
	fd, err := sys.Reopen(path)
	if !p.recordErrno(err) {
		return false
	}
	err = read(fd)
	sys.Close(fd)
	return p.recordErrno(err)
}

// readFirstByte reads past the page cache, where it can be emptied: a disk that is gone still has
// what was read before.
func readFirstByte(fd int) error {
	sys.DropCache(fd)
	return sys.ReadByte(fd)
}

// readEntries reads the first entries of a directory.
func readEntries(fd int) error { return sys.ReadSomeNames(fd) }
