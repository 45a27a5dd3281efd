package node

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

var (
	errNotAbsolute = errors.New("the path is not absolute")
	errMalformed   = errors.New("no mount found at the path, but a line of the mount table could not be understood")
	errUnlisted    = errors.New("the path is on a mount that is not in the mount table")
)

// locate finds the subject's mount: by the text of the table, or, when the path leads over symlinks, by
// where the kernel says it leads. Without a mount it has concluded the look and reports false.
func (l *look) locate(ctx context.Context, table *mountinfo.Table) (mountinfo.Mount, bool) {
	if !path.IsAbs(l.subject.target.Path) {
		l.unknown(errNotAbsolute)
		return mountinfo.Mount{}, false
	}
	m, ok := table.At(path.Clean(l.subject.target.Path))
	if !ok {
		if m, ok = l.resolve(ctx); !ok {
			return m, false
		}
	}
	if !l.subject.anyPath && isUnmountedVolume(m.Root) {
		return m, l.confirmUnmounted(m)
	}
	return m, true
}

// resolve lets a worker walk to the path and finds the mount it arrives on in a second reading.
func (l *look) resolve(ctx context.Context) (mountinfo.Mount, bool) {
	var none mountinfo.Mount
	r := l.ask(ctx, "", 0)
	arrived := r.Err == nil && r.Since.IsZero() && r.Answer.Errno == 0
	absent := !l.subject.anyPath && r.Answer.Stage == check.StageOpen &&
		(r.Answer.Errno == syscall.ENOENT || r.Answer.Errno == syscall.ENOTDIR)
	if !arrived && !absent {
		l.conclude(r)
		return none, false
	}
	table, err := l.subject.view.read()
	if err != nil {
		l.unknown(err)
		return none, false
	}
	if !arrived {
		return l.missing(table)
	}
	m, listed := table.ByID(int(r.Answer.MountID))
	switch {
	case !listed:
		l.unknown(errUnlisted)
		return none, false
	case l.subject.anyPath || r.Answer.MountRoot && m.MountPoint != "/":
		return m, true
	default:
		return l.missing(table)
	}
}

// missing concludes that nothing is mounted at the path, unless the second reading knows better.
func (l *look) missing(table *mountinfo.Table) (mountinfo.Mount, bool) {
	m, ok := table.At(path.Clean(l.subject.target.Path))
	switch {
	case ok:
		return m, true
	case table.Malformed > 0:
		l.unknown(errMalformed)
	default:
		l.broken(probes.CauseNotMounted, "nothing is mounted at the path in the container")
	}
	return m, false
}

// unmountedVolume matches a folder of the kubelet where a CSI driver should have mounted a volume. A
// mount's root is a path inside its file system, so a mount with such a root shows the kubelet's own
// file system: the container was bound to the folder before the volume was mounted there.
var unmountedVolume = regexp.MustCompile(`/pods/[^/]+/volumes/kubernetes\.io~csi/[^/]+/mount(/|$)`)

func isUnmountedVolume(root string) bool { return unmountedVolume.MatchString(root) }

// confirmUnmounted concludes from a second reading that m is the kubelet's own folder. It reports true
// when the second reading does not agree, so that m is looked at.
func (l *look) confirmUnmounted(m mountinfo.Mount) (differs bool) {
	table, err := l.subject.view.read()
	if err != nil {
		l.unknown(err)
		return false
	}
	if again, ok := table.ByID(m.ID); !ok || again.Root != m.Root {
		return true
	}
	l.seen.FSType, l.seen.Source, l.seen.Device = m.FSType, m.Source, m.Device.String()
	l.broken(probes.CauseNotMounted, fmt.Sprintf(
		"the container was started before the volume was mounted: it sees %q of the node's own file system", m.Root))
	return false
}
