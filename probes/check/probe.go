package check

import (
	"syscall"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// probe is one request that passes through the stages.
type probe struct {
	page   *ProgressPage
	answer Answer
}

// runStages has closed every descriptor but target when it returns: one of a volume, or of the
// container's root file system, would pin it while the next item hangs.
func (p *probe) runStages(target int, r *Request) {
	path, ok := p.openPath(target, r.Path)
	if !ok {
		return
	}
	defer sys.Close(path)
	if p.identifyMount(path, r.MountID) && p.statMount(path) {
		p.readCanaries(path, r)
	}
}

// openPath closes everything but the path itself before any call that may block for long.
func (p *probe) openPath(target int, path string) (fd int, ok bool) {
	root, err := sys.OpenDirAt(target, "root")
	if err != nil {
		return -1, p.recordErrno(err)
	}
	p.enterStage(StageOpen)
	fd, err = sys.OpenInRoot(root, path)
	sys.Close(root)
	return fd, p.recordErrno(err)
}

// identifyMount reports whether the path is on the expected mount, and the probe is to go on.
func (p *probe) identifyMount(fd int, expected uint64) bool {
	p.enterStage(StageIdentify)
	id, err := sys.Identify(fd)
	if !p.recordErrno(err) {
		return false
	}
	p.answer.MountID, p.answer.MountRoot = id.MountID, id.MountRoot
	p.answer.Mismatch = expected != 0 && id.MountID != expected
	return expected != 0 && !p.answer.Mismatch
}

// statMount makes the calls that ask the file system. It reports whether both answers were good.
func (p *probe) statMount(fd int) bool {
	p.enterStage(StageStatfs)
	info, err := sys.Statfs(fd)
	if !p.recordErrno(err) {
		return false
	}
	p.answer.Unasked = info.Magic == sys.MagicFUSE && info.Empty
	p.answer.NoSpace = info.Full
	p.enterStage(StageStatx)
	root, err := sys.StatSync(fd)
	if !p.recordErrno(err) {
		return false
	}
	p.answer.File = root.Regular
	p.answer.Unlinked = info.Magic == sys.MagicNFS && root.Links == 0
	return !p.answer.Unlinked
}

// enterStage tells the agent what is about to be done, so that a hang names its operation.
func (p *probe) enterStage(s Stage) {
	p.page.Enter(s)
	p.answer.Stage = s
}

// recordErrno records how a stage ended and reports whether it was good.
func (p *probe) recordErrno(err error) bool {
	if err == nil {
		return true
	}
	errno, ok := err.(syscall.Errno) //nolint:errorlint // straight from the system call; errors.As would pull in reflection
	if !ok {
		errno = syscall.EINVAL
	}
	p.answer.Errno = errno
	return false
}
