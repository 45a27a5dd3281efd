package check

import (
	"syscall"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// canaries reads what the pod has asked for, below the mount whose root is dir.
func (l *look) canaries(dir int, r *Request) {
	if r.CanaryFile == "" && r.CanaryDirectory == "" {
		return
	}
	l.begin(StageCanary)
	if r.CanaryFile != "" && !l.canary(dir, r.CanaryFile, syscall.S_IFREG, readFile) {
		return
	}
	if r.CanaryDirectory != "" {
		l.canary(dir, r.CanaryDirectory, syscall.S_IFDIR, readDirectory)
	}
}

// canary opens nothing whose type is not known: to open a FIFO wakes up who waits at its other end, and to open a device may
// do anything. It reports whether it was read.
func (l *look) canary(dir int, name string, want uint32, read func(fd int) error) bool {
	path, err := sys.OpenBeneath(dir, name)
	if !l.end(err) {
		return false
	}
	defer sys.Close(path)
	got, err := sys.FileType(path)
	if !l.end(err) {
		return false
	}
	if got != want {
		l.answer.WrongType = true
		return false
	}
	fd, err := sys.Reopen(path)
	if !l.end(err) {
		return false
	}
	err = read(fd)
	sys.Close(fd)
	return l.end(err)
}

// readFile reads past the page cache, where it can be emptied: a disk that is gone still has what was read before.
func readFile(fd int) error {
	sys.DropCache(fd)
	return sys.ReadByte(fd)
}

func readDirectory(fd int) error { return sys.ReadSomeNames(fd) }
