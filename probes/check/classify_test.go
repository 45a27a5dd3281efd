package check_test

import (
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
)

func TestClassify(t *testing.T) {
	type proof struct {
		health probes.Health
		cause  probes.Cause
	}
	var (
		unknown      = proof{}
		healthy      = proof{health: probes.Healthy}
		disconnected = proof{probes.Broken, probes.CauseDisconnected}
		stale        = proof{probes.Broken, probes.CauseStale}
		ioError      = proof{probes.Broken, probes.CauseIOError}
	)
	for _, row := range []struct {
		errno               syscall.Errno
		open, statfs, statx proof
	}{
		{0, unknown, unknown, healthy},
		{syscall.ENOTCONN, disconnected, disconnected, disconnected},
		{syscall.ECONNABORTED, disconnected, disconnected, disconnected},
		{syscall.ESHUTDOWN, disconnected, disconnected, disconnected},
		{syscall.ESTALE, unknown, stale, stale},
		{syscall.EIO, ioError, ioError, ioError},
		{syscall.ENODEV, ioError, ioError, ioError},
		{syscall.ENXIO, ioError, ioError, ioError},
		{syscall.EHOSTDOWN, ioError, ioError, ioError},
		{syscall.ETIMEDOUT, ioError, ioError, ioError},
		{syscall.EACCES, unknown, unknown, unknown},
		{syscall.EPERM, unknown, unknown, unknown},
		{syscall.ENOENT, unknown, unknown, unknown},
		{syscall.ESRCH, unknown, unknown, unknown},
		{syscall.EINVAL, unknown, unknown, unknown},
		{syscall.EAGAIN, unknown, unknown, unknown},
		{syscall.EMFILE, unknown, unknown, unknown},
		{syscall.ENFILE, unknown, unknown, unknown},
		{syscall.ENOMEM, unknown, unknown, unknown},
		{syscall.EINTR, unknown, unknown, unknown},
		{syscall.ELOOP, unknown, unknown, unknown},
		{syscall.ENOSYS, unknown, unknown, unknown},
		{syscall.ENOSPC, unknown, unknown, unknown},
		{512, unknown, unknown, unknown}, // ERESTARTSYS, which a forced unmount lets out
	} {
		for op, want := range map[probes.Operation]proof{
			probes.OpOpen: row.open, probes.OpStatfs: row.statfs, probes.OpStatx: row.statx,
			probes.OpTable: pick(row.errno == 0, unknown, row.open),
		} {
			health, cause := check.Classify(op, row.errno)
			if got := (proof{health, cause}); got != want {
				t.Errorf("%s answers %v: got %+v, want %+v", op, row.errno, got, want)
			}
		}
	}
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

func TestJudge(t *testing.T) {
	for _, row := range []struct {
		name   string
		answer check.Answer
		health probes.Health
		cause  probes.Cause
		detail bool
	}{
		{"good", check.Answer{Stage: check.StageStatx}, probes.Healthy, "", false},
		{"statfs fails", check.Answer{Stage: check.StageStatfs, Errno: syscall.EIO}, probes.Broken, probes.CauseIOError, false},
		{"NFS root deleted", check.Answer{Stage: check.StageStatx, Unlinked: true}, probes.Broken, probes.CauseStale, true},
		{"FUSE not asked", check.Answer{Stage: check.StageStatx, Unasked: true}, probes.Unknown, "", true},
		{"FUSE not asked, but dead", check.Answer{Stage: check.StageStatx, Errno: syscall.ENOTCONN, Unasked: true},
			probes.Broken, probes.CauseDisconnected, false},
		{"FUSE not asked, denied", check.Answer{Stage: check.StageStatx, Errno: syscall.EACCES, Unasked: true}, probes.Unknown, "", false},
		{"process gone", check.Answer{Stage: check.StageRoot, Errno: syscall.ESRCH}, probes.Unknown, "", true},
		{"root denied", check.Answer{Stage: check.StageRoot, Errno: syscall.EACCES}, probes.Unknown, "", true},
		{"root of a dead FUSE", check.Answer{Stage: check.StageRoot, Errno: syscall.ENOTCONN}, probes.Unknown, "", true},
		{"only identified", check.Answer{Stage: check.StageIdentify}, probes.Unknown, "", false},
	} {
		got := check.Judge(row.answer)
		if got.Health != row.health || got.Cause != row.cause || (got.Detail != "") != row.detail {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}
