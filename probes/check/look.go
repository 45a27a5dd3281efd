package check

import (
	"syscall"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// look is one request on its way through the stages.
type look struct {
	board  *Board
	answer Answer
}

// run has closed every descriptor but target when it returns: one of a volume, or of the container's root file system,
// would pin it while the next item hangs.
func (l *look) run(target int, r *Request) {
	path, ok := l.open(target, r.Path)
	if !ok {
		return
	}
	defer sys.Close(path)
	if l.identify(path, r.MountID) && l.touch(path) {
		l.canaries(path, r)
	}
}

// open closes everything but the path itself before any call that may block for long.
func (l *look) open(target int, path string) (fd int, ok bool) {
	root, err := sys.OpenDirAt(target, "root")
	if err != nil {
		return -1, l.end(err)
	}
	l.begin(StageOpen)
	fd, err = sys.OpenInRoot(root, path)
	sys.Close(root)
	return fd, l.end(err)
}

// identify reports whether the look is to go on.
func (l *look) identify(fd int, expected uint64) bool {
	l.begin(StageIdentify)
	id, err := sys.Identify(fd)
	if !l.end(err) {
		return false
	}
	l.answer.MountID, l.answer.MountRoot = id.MountID, id.MountRoot
	l.answer.Mismatch = expected != 0 && id.MountID != expected
	return expected != 0 && !l.answer.Mismatch
}

// touch reports whether both answers were good.
func (l *look) touch(fd int) bool {
	l.begin(StageStatfs)
	info, err := sys.Statfs(fd)
	if !l.end(err) {
		return false
	}
	l.answer.Unasked = info.Magic == sys.MagicFUSE && info.Empty
	l.answer.NoSpace = info.Full
	l.begin(StageStatx)
	root, err := sys.StatSync(fd)
	if !l.end(err) {
		return false
	}
	l.answer.File = root.Regular
	l.answer.Unlinked = info.Magic == sys.MagicNFS && root.Links == 0
	return !l.answer.Unlinked
}

// begin tells the agent what is about to be done, so that a hang names its operation.
func (l *look) begin(s Stage) {
	l.board.Enter(s)
	l.answer.Stage = s
}

// end notes how a stage ended and reports whether it was good.
func (l *look) end(err error) bool {
	if err == nil {
		return true
	}
	errno, ok := err.(syscall.Errno) //nolint:errorlint // straight from the system call; errors.As would pull in reflection
	if !ok {
		errno = syscall.EINVAL
	}
	l.answer.Errno = errno
	return false
}
