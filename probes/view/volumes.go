package view

import (
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// VolumeMount is one mount of a volume in a container.
type VolumeMount struct {
	Name string // the pod's volume
	Host probes.HostVolume
	ContainerMount
}

// MatchVolumes finds the host's mount of each volume of a pod. All known mounts of the pod must be
// passed together: the name of a claim's directory is not known, so it may be found as the one that
// is left over.
func (h *HostTable) MatchVolumes(uid string, volumes []VolumeMount) []HostMatch {
	all := make([]HostMatch, len(volumes))
	if h == nil {
		return all
	}
	var open []int
	for i := range volumes {
		v := &volumes[i]
		switch {
		case v.Host.Path != "":
			all[i] = h.matchHostPath(v.Host.Path, &v.ContainerMount)
		case v.Host.Folder != "":
			all[i] = h.matchVolumeDir(uid, v.Host.Folder, &v.ContainerMount)
		default:
			var ok bool
			if all[i], ok = h.matchClaim(uid, &v.ContainerMount); !ok {
				open = append(open, i)
			}
		}
	}
	if len(open) > 0 {
		h.matchByElimination(uid, volumes, all, open)
	}
	return all
}

// matchHostPath finds the host's mount that covers a hostPath.
func (h *HostTable) matchHostPath(path string, c *ContainerMount) HostMatch {
	s := h.matchMount(path, c)
	if _, mounted := h.table.At(path); !mounted && s.Relation == RelationUnclear && c.LastHostPoint == path && !h.isOnAutofs(path) {
		return HostMatch{Relation: RelationGone}
	}
	return s
}

// matchVolumeDir finds the host's mount at the volume's directory. A kubelet's directory may be
// mounted in several places.
func (h *HostTable) matchVolumeDir(uid, dir string, c *ContainerMount) HostMatch {
	found := HostMatch{Relation: RelationNone}
	pod := ""
	for _, i := range h.pods[uid] {
		path := h.table.Mounts[i].MountPoint
		at, rest, ok := cutVolumePath(path, uid)
		if !ok {
			continue
		}
		pod = at
		if rest != dir {
			continue
		}
		switch s := h.matchMount(path, c); {
		case s.Relation == RelationSame:
			return s
		case found.Relation == RelationNone:
			found = s
		case s.Mount.Device != found.Mount.Device:
			found = HostMatch{}
		}
	}
	if found.Relation == RelationNone {
		return h.matchUnmounted(pod, dir, c)
	}
	return found
}

// matchUnmounted returns the match of a volume that the host has no mount of. pod is the pod's
// directory, "" when the table shows nothing of the pod: the table may be that of another namespace
// than the kubelet's.
func (h *HostTable) matchUnmounted(pod, dir string, c *ContainerMount) HostMatch {
	if pod == "" {
		return HostMatch{}
	}
	s := h.matchMount(pod+"/volumes/"+dir, c)
	return HostMatch{Relation: chooseRelation(c.LastHostPoint != "", RelationGone, RelationNone), RootPath: s.RootPath}
}

// matchClaim finds the host's mount of a volume whose directory is not known: by the root of the
// container's line, by the device, or by where it was before.
func (h *HostTable) matchClaim(uid string, c *ContainerMount) (s HostMatch, ok bool) {
	if c.Found {
		if dir := findUnmountedDir(c.Mount.Root); dir != "" {
			return h.matchVolumeDir(uid, dir, c), true
		}
		if s, ok := h.matchDevice(uid, c); ok {
			return s, true
		}
	}
	if c.LastHostPoint == "" {
		return HostMatch{}, false
	}
	_, dir, _ := cutVolumePath(c.LastHostPoint, uid)
	return h.matchVolumeDir(uid, dir, c), true
}

// matchDevice finds the pod's only mount on the host with the device of the container's mount.
func (h *HostTable) matchDevice(uid string, c *ContainerMount) (HostMatch, bool) {
	var same, own []HostMatch
	for _, m := range h.listCandidates(uid) {
		if m.Device != c.Mount.Device {
			continue
		}
		s := h.matchMount(m.MountPoint, c)
		same = append(same, s)
		if s.RootPath != "" {
			own = append(own, s)
		}
	}
	switch {
	case len(same) == 0:
		return HostMatch{}, false
	case len(own) == 1:
		return own[0], true
	default: // one server or disk has several volumes of the pod, and any of them may be it
		return HostMatch{Relation: RelationSame, Mount: same[0].Mount}, true
	}
}

// listCandidates returns the mounts of the pod that may be that of a claim.
func (h *HostTable) listCandidates(uid string) (all []mountinfo.Mount) {
	for _, i := range h.pods[uid] {
		path := h.table.Mounts[i].MountPoint
		_, rest, ok := cutVolumePath(path, uid)
		known := slices.ContainsFunc(all, func(m mountinfo.Mount) bool { return m.MountPoint == path })
		if !ok || known || !isVolumePath(rest) {
			continue
		}
		if m, ok := h.table.At(path); ok {
			all = append(all, m)
		}
	}
	return all
}

// matchByElimination matches the one claim that is left with the one mount that is left, if the
// types agree.
func (h *HostTable) matchByElimination(uid string, volumes []VolumeMount, all []HostMatch, open []int) {
	name := volumes[open[0]].Name
	if slices.ContainsFunc(open, func(i int) bool { return volumes[i].Name != name }) {
		return
	}
	left := slices.DeleteFunc(h.listCandidates(uid), func(m mountinfo.Mount) bool { return isTaken(m.MountPoint, volumes, all) })
	if len(left) != 1 {
		return
	}
	for _, i := range open {
		if c := &volumes[i].ContainerMount; !c.Found || c.Mount.FSType == left[0].FSType {
			all[i] = h.matchMount(left[0].MountPoint, c)
			all[i].Inferred, all[i].AtVolume = true, false
		}
	}
}

// isTaken reports whether the host's mount at path belongs to a volume that is matched already.
func isTaken(path string, volumes []VolumeMount, all []HostMatch) bool {
	for i := range volumes {
		dir := volumes[i].Host.Folder
		if all[i].Mount.MountPoint == path || volumes[i].LastHostPoint == path || dir != "" && strings.HasSuffix(path, "/volumes/"+dir) {
			return true
		}
	}
	return false
}

// MatchBelow says how the host's mount at rest, relative to the root of a volume, relates to what
// the container has there, c. volume is the match of the volume itself.
func (h *HostTable) MatchBelow(volume HostMatch, rest string, c ContainerMount) HostMatch {
	if h == nil || volume.RootPath == "" {
		return HostMatch{}
	}
	base := joinPath(volume.RootPath, rest)
	b := h.matchMount(base, &c)
	if b.Mount.MountPoint == base || b.Relation == RelationUnclear && h.isOnAutofs(base) {
		return b
	}
	return HostMatch{Relation: chooseRelation(c.LastHostPoint != "", RelationGone, RelationNone)}
}

func (h *HostTable) isOnAutofs(path string) bool {
	m, ok := h.table.Covering(path)
	return ok && m.FSType == "autofs"
}
