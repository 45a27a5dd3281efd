package check_test

import (
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
)

// proof is a Finding without its words.
type proof struct {
	health   probes.Health
	cause    probes.Cause
	warning  probes.Warning
	byDesign bool
}

func proofOf(a check.Answer) proof {
	found := check.Judge(a)
	return proof{found.Health, found.Cause, found.Warning, found.ByDesign}
}

func TestJudgeErrno(t *testing.T) {
	var (
		unknown      = proof{}
		healthy      = proof{health: probes.Healthy}
		full         = proof{health: probes.Healthy, warning: probes.WarningNoSpace}
		disconnected = proof{health: probes.Broken, cause: probes.CauseDisconnected}
		stale        = proof{health: probes.Broken, cause: probes.CauseStale}
		ioError      = proof{health: probes.Broken, cause: probes.CauseIOError}
		canary       = proof{health: probes.Broken, cause: probes.CauseCanaryFailed}
		design       = proof{health: probes.Broken, cause: probes.CauseCanaryFailed, byDesign: true}
	)
	for _, row := range []struct {
		errno                       syscall.Errno
		open, statfs, statx, canary proof
	}{
		{0, unknown, unknown, healthy, healthy},
		{syscall.ENOTCONN, disconnected, disconnected, disconnected, disconnected},
		{syscall.ECONNABORTED, disconnected, disconnected, disconnected, disconnected},
		{syscall.ESHUTDOWN, disconnected, disconnected, disconnected, disconnected},
		{syscall.ESTALE, unknown, stale, stale, canary},
		{syscall.EIO, ioError, ioError, ioError, canary},
		{syscall.ENODEV, ioError, ioError, ioError, canary},
		{syscall.ENXIO, ioError, ioError, ioError, canary},
		{syscall.EHOSTDOWN, ioError, ioError, ioError, canary},
		{syscall.ETIMEDOUT, ioError, ioError, ioError, canary},
		{syscall.ECONNREFUSED, ioError, ioError, ioError, canary},
		{syscall.ENOENT, unknown, unknown, unknown, design},
		{syscall.ENOTDIR, unknown, unknown, unknown, design},
		{syscall.ELOOP, unknown, unknown, unknown, design},
		{syscall.ENOSPC, unknown, full, full, full},
		{syscall.EXDEV, unknown, unknown, unknown, unknown},
		{syscall.EACCES, unknown, unknown, unknown, unknown},
		{syscall.EPERM, unknown, unknown, unknown, unknown},
		{syscall.ESRCH, unknown, unknown, unknown, unknown},
		{syscall.EINVAL, unknown, unknown, unknown, unknown},
		{syscall.EAGAIN, unknown, unknown, unknown, unknown},
		{syscall.EMFILE, unknown, unknown, unknown, unknown},
		{syscall.ENFILE, unknown, unknown, unknown, unknown},
		{syscall.ENOMEM, unknown, unknown, unknown, unknown},
		{syscall.EINTR, unknown, unknown, unknown, unknown},
		{syscall.ENOSYS, unknown, unknown, unknown, unknown},
		{syscall.EBADF, unknown, unknown, unknown, unknown},
		{syscall.ENAMETOOLONG, unknown, unknown, unknown, unknown},
		{syscall.EISDIR, unknown, unknown, unknown, unknown},
		{syscall.EROFS, unknown, unknown, unknown, unknown},
		{syscall.EBUSY, unknown, unknown, unknown, unknown},
		{syscall.EREMOTEIO, unknown, unknown, unknown, unknown},
		{syscall.EOPNOTSUPP, unknown, unknown, unknown, unknown},
		{syscall.EHOSTUNREACH, unknown, unknown, unknown, unknown},
		{syscall.EDQUOT, unknown, unknown, unknown, unknown},
		{512, unknown, unknown, unknown, unknown}, // ERESTARTSYS, which a forced unmount lets out
	} {
		for stage, want := range map[check.Stage]proof{
			check.StageRoot: unknown, check.StageOpen: row.open, check.StageIdentify: row.open, check.StageStatfs: row.statfs,
			check.StageStatx: row.statx, check.StageCanary: row.canary,
		} {
			if got := proofOf(check.Answer{Stage: stage, Errno: row.errno}); got != want {
				t.Errorf("%s (stage %d) answers %v: got %+v, want %+v", stage.Operation(), stage, row.errno, got, want)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	for _, row := range []struct {
		name   string
		answer check.Answer
		want   proof
		detail bool
	}{
		{"good", check.Answer{Stage: check.StageStatx}, proof{health: probes.Healthy}, false},
		{"good canary", check.Answer{Stage: check.StageCanary}, proof{health: probes.Healthy}, false},
		{"NFS root deleted", check.Answer{Stage: check.StageStatx, Unlinked: true}, proof{health: probes.Broken, cause: probes.CauseStale}, true},
		{"FUSE not asked", check.Answer{Stage: check.StageStatx, Unasked: true}, proof{}, true},
		{"FUSE not asked, but a canary read", check.Answer{Stage: check.StageCanary, Unasked: true}, proof{}, true},
		{"FUSE not asked, but dead", check.Answer{Stage: check.StageStatx, Errno: syscall.ENOTCONN, Unasked: true},
			proof{health: probes.Broken, cause: probes.CauseDisconnected}, false},
		{"FUSE not asked, denied", check.Answer{Stage: check.StageStatx, Errno: syscall.EACCES, Unasked: true}, proof{}, false},
		{"process gone", check.Answer{Stage: check.StageRoot, Errno: syscall.ESRCH}, proof{}, true},
		{"root denied", check.Answer{Stage: check.StageRoot, Errno: syscall.EACCES}, proof{}, true},
		{"root of a dead FUSE", check.Answer{Stage: check.StageRoot, Errno: syscall.ENOTCONN}, proof{}, true},
		{"only identified", check.Answer{Stage: check.StageIdentify}, proof{}, false},
		{"another mount", check.Answer{Stage: check.StageStatx, Mismatch: true}, proof{}, false},
		{"full", check.Answer{Stage: check.StageStatx, NoSpace: true}, proof{health: probes.Healthy, warning: probes.WarningNoSpace}, false},
		{"full and dead", check.Answer{Stage: check.StageStatx, Errno: syscall.EIO, NoSpace: true},
			proof{health: probes.Broken, cause: probes.CauseIOError}, false},
		{"full, only identified", check.Answer{Stage: check.StageStatfs, NoSpace: true}, proof{}, false},
		{"canary of another type", check.Answer{Stage: check.StageCanary, WrongType: true},
			proof{health: probes.Broken, cause: probes.CauseCanaryFailed, byDesign: true}, true},
		{"canary leads out", check.Answer{Stage: check.StageCanary, Errno: syscall.EXDEV}, proof{}, true},
		{"canary missing", check.Answer{Stage: check.StageCanary, Errno: syscall.ENOENT},
			proof{health: probes.Broken, cause: probes.CauseCanaryFailed, byDesign: true}, true},
	} {
		if got := proofOf(row.answer); got != row.want {
			t.Errorf("%s: %+v", row.name, got)
		}
		if detail := check.Judge(row.answer).Detail; (detail != "") != row.detail {
			t.Errorf("%s: %q", row.name, detail)
		}
	}
}
