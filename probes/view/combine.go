package view

import (
	"fmt"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// DetectUnmounted says why the container shows a directory of the node's own disk in place of its
// volume's mount, or "" when that is not known. The conclusion needs a second reading of both
// tables.
func DetectUnmounted(m *mountinfo.Mount, host probes.HostVolume, match *HostMatch) string {
	switch {
	case match.Covered && !match.Inferred:
		return fmt.Sprintf("the container sees the folder %q of the node's own file system; the host has a mount over it at %q",
			m.Root, match.Mount.MountPoint)
	case host.Path == "" && match.Relation != RelationSame && findUnmountedDir(m.Root) != "":
		return fmt.Sprintf("the container was started before the volume was mounted: it sees %q of the node's own file system", m.Root)
	default:
		return ""
	}
}

// SetNotMounted makes o say that the container does not have the mount. Where the host does not
// have it either, it may come back without a new pod.
func SetNotMounted(o *probes.Observation, detail string, match *HostMatch) {
	setBroken(o, probes.CauseNotMounted, detail)
	o.Tentative = match.Relation == RelationNone || match.Relation == RelationGone
}

// JudgeMissingSubmount makes o say what a missing mount below a volume proves. The mount was there
// before, or is declared.
//
// Where the host has it, the container has lost it, and a new pod gets it. Where the host does not
// have it either, only who mounted it can bring it back. A new pod can do so if the pod itself
// mounted it in its emptyDir, or if it is declared. It cannot if the pod merely saw the mount once.
// A declared mount that never came is not lost, so it counts as by design.
func JudgeMissingSubmount(o *probes.Observation, declared bool, host probes.HostVolume, match *HostMatch) {
	switch {
	case match.Relation == RelationOther || match.Relation == RelationSame:
		setBroken(o, probes.CauseNotMounted, fmt.Sprintf("a mount below the volume is missing; the host has it at %q", match.Mount.MountPoint))
	case declared:
		setBroken(o, probes.CauseNotMounted, "a declared mount is missing")
		o.Tentative, o.ByDesign = true, true
	case match.Relation == RelationUnclear || isEmptyDir(host):
		setBroken(o, probes.CauseNotMounted, "a mount that was there is missing")
		o.Tentative = true
	default:
		o.Detail = "a mount that was there is gone, on the host too: a new pod would not have it either"
	}
}

// isEmptyDir reports whether the volume is an emptyDir, which only the pod itself mounts into.
func isEmptyDir(host probes.HostVolume) bool {
	return strings.HasPrefix(host.Folder, "kubernetes.io~empty-dir/")
}

// NeedsHostProbe reports whether a probe of the host's mount can change what o means.
func NeedsHostProbe(o *probes.Observation, match *HostMatch) bool {
	if match.Relation != RelationOther || WhyNeverProbed(match.Mount.FSType) != "" {
		return false
	}
	switch o.Health {
	case probes.Healthy:
		return !match.Inferred
	case probes.Broken:
		return !o.ByDesign && o.Cause != probes.CauseNotMounted
	default:
		return false
	}
}

// Combine explains an observation of a container, o, by the host's table. host is the observation
// of the host's mount, Unknown when it was not probed. Combine never makes a healthy mount broken
// or a broken one healthy.
func Combine(o *probes.Observation, match *HostMatch, host probes.Observation) {
	switch {
	case o.Health == probes.Healthy && match.Relation == RelationGone:
		setWarning(o, probes.WarningHostBroken, "the host has no mount of the volume any more")
	case !NeedsHostProbe(o, match):
	case o.Health == probes.Healthy && host.Health == probes.Broken:
		setWarning(o, probes.WarningHostBroken, fmt.Sprintf("the host's mount %s at %q is broken: %s %s",
			match.Mount.Device, match.Mount.MountPoint, host.Cause, host.Detail))
	case o.Health == probes.Healthy:
		setWarning(o, probes.WarningStaleGeneration, fmt.Sprintf("the host has mounted the volume anew, as %s at %q",
			match.Mount.Device, match.Mount.MountPoint))
	case host.Health == probes.Healthy:
		o.Detail = fmt.Sprintf("the host has mounted the volume anew, as %s at %q; in the container: %s %s",
			match.Mount.Device, match.Mount.MountPoint, o.Cause, o.Detail)
		o.Tentative = !o.Definitive() // a server may fail or hang for a moment, whichever mount of it is newer
		o.Cause = probes.CauseStaleGeneration
	}
}

// setWarning sets a warning unless o has one.
func setWarning(o *probes.Observation, w probes.Warning, detail string) {
	if o.Warning == probes.WarningNone {
		o.Warning, o.Detail = w, detail
	}
}

// UseHostObservation replaces o, of a container that cannot be probed, by the observation of the
// host's mount if that is broken. Any other host observation says nothing about the container.
func UseHostObservation(o *probes.Observation, host probes.Observation) {
	if host.Health != probes.Broken {
		return
	}
	why, target := o.Detail, o.Target
	*o = host
	o.Target = target
	o.Detail = fmt.Sprintf("the host's mount of the volume is broken: %s (%s)", host.Detail, why)
}
