package view

import (
	"fmt"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// Unmounted says why the container's mount is not that of its volume but the node's own disk; "" when it is not known to
// be. Such a conclusion needs a second reading of both tables.
func Unmounted(m *mountinfo.Mount, host probes.HostVolume, s *Standing) string {
	switch {
	case s.Beneath && !s.Guess:
		return fmt.Sprintf("the container sees the folder %q of the node's own file system; the host has a mount over it at %q", m.Root, s.Mount.MountPoint)
	case host.Path == "" && s.Relation != Same && unmountedFolder(m.Root) != "":
		return fmt.Sprintf("the container was started before the volume was mounted: it sees %q of the node's own file system", m.Root)
	default:
		return ""
	}
}

// NotMounted makes o say that the container does not have the mount. It may come back without a new pod where the
// host does not have it either.
func NotMounted(o *probes.Observation, detail string, s *Standing) {
	broken(o, probes.CauseNotMounted, detail)
	o.Tentative = s.Relation == None || s.Relation == Gone
}

// BelowMissing makes o say what is proved by a missing mount below a volume: one that was there, or is declared. Where the
// host has it, the container has lost it, and a new pod gets it. Where the host does not have it either, only who mounted it can
// bring it back: that may be the pod itself, in a folder of its own, or who relies on it and says so, but not a pod that
// merely saw it once. And what never came is not lost.
func BelowMissing(o *probes.Observation, declared bool, host probes.HostVolume, s *Standing) {
	switch {
	case s.Relation == Other || s.Relation == Same:
		broken(o, probes.CauseNotMounted, fmt.Sprintf("a mount below the volume is missing; the host has it at %q", s.Mount.MountPoint))
	case declared:
		broken(o, probes.CauseNotMounted, "a declared mount is missing")
		o.Tentative, o.ByDesign = true, true
	case s.Relation == Unclear || isPods(host):
		broken(o, probes.CauseNotMounted, "a mount that was there is missing")
		o.Tentative = true
	default:
		o.Detail = "a mount that was there is gone, on the host too: a new pod would not have it either"
	}
}

// isPods reports whether the volume is a folder of the pod's own.
func isPods(host probes.HostVolume) bool {
	return strings.HasPrefix(host.Folder, "kubernetes.io~empty-dir/")
}

// AsksHost reports whether a look at the host's mount can change what o means.
func AsksHost(o *probes.Observation, s *Standing) bool {
	if s.Relation != Other || Untouchable(s.Mount.FSType) != "" {
		return false
	}
	switch o.Health {
	case probes.Healthy:
		return !s.Guess
	case probes.Broken:
		return !o.ByDesign && o.Cause != probes.CauseNotMounted
	default:
		return false
	}
}

// Combine explains what was seen in the container, o, by the host's view. host is what a look at the host's mount has
// found, Unknown when there was none. It never makes a healthy mount broken or a broken one healthy.
func Combine(o *probes.Observation, s *Standing, host probes.Observation) {
	switch {
	case o.Health == probes.Healthy && s.Relation == Gone:
		warn(o, probes.WarningHostBroken, "the host has no mount of the volume any more")
	case !AsksHost(o, s):
	case o.Health == probes.Healthy && host.Health == probes.Broken:
		warn(o, probes.WarningHostBroken, fmt.Sprintf("the host's mount %s at %q is broken: %s %s", s.Mount.Device, s.Mount.MountPoint, host.Cause, host.Detail))
	case o.Health == probes.Healthy:
		warn(o, probes.WarningStaleGeneration, fmt.Sprintf("the host has mounted the volume anew, as %s at %q", s.Mount.Device, s.Mount.MountPoint))
	case host.Health == probes.Healthy:
		o.Detail = fmt.Sprintf("the host has mounted the volume anew, as %s at %q; in the container: %s %s", s.Mount.Device, s.Mount.MountPoint, o.Cause, o.Detail)
		o.Tentative = !o.Definitive() // a server may fail or hang for a moment, whatever generation it serves
		o.Cause = probes.CauseStaleGeneration
	}
}

func warn(o *probes.Observation, w probes.Warning, detail string) {
	if o.Warning == probes.WarningNone {
		o.Warning, o.Detail = w, detail
	}
}

// HostOnly makes of o, a container that cannot be looked into, what a look at the host's mount has found: only that it is
// broken says anything.
func HostOnly(o *probes.Observation, host probes.Observation) {
	if host.Health != probes.Broken {
		return
	}
	why, target := o.Detail, o.Target
	*o = host
	o.Target = target
	o.Detail = fmt.Sprintf("the host's mount of the volume is broken: %s (%s)", host.Detail, why)
}
