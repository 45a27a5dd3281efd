package view

import (
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// Volume is one mount of a volume in a container.
type Volume struct {
	Name string // the pod's volume
	Host probes.HostVolume
	Seen
}

// Volumes says where the host has each volume of a pod. All mounts that are known of the pod are asked about together: a
// claim does not tell the name of its folder, so it may be found by what the others leave over.
func (h *Host) Volumes(uid string, volumes []Volume) []Standing {
	all := make([]Standing, len(volumes))
	if h == nil {
		return all
	}
	var open []int
	for i := range volumes {
		v := &volumes[i]
		switch {
		case v.Host.Path != "":
			all[i] = h.path(v.Host.Path, &v.Seen)
		case v.Host.Folder != "":
			all[i] = h.folder(uid, v.Host.Folder, &v.Seen)
		default:
			var ok bool
			if all[i], ok = h.claim(uid, &v.Seen); !ok {
				open = append(open, i)
			}
		}
	}
	if len(open) > 0 {
		h.eliminate(uid, volumes, all, open)
	}
	return all
}

// path looks for the host's mount that covers a hostPath.
func (h *Host) path(path string, c *Seen) Standing {
	s := h.compare(path, c)
	if _, mounted := h.table.At(path); !mounted && s.Relation == Unclear && c.Before == path && !h.isAutofs(path) {
		return Standing{Relation: Gone}
	}
	return s
}

// folder looks for the host's mount at the volume's folder. A kubelet's folder may be seen at several places.
func (h *Host) folder(uid, folder string, c *Seen) Standing {
	found := Standing{Relation: None}
	pod := ""
	for _, i := range h.pods[uid] {
		path := h.table.Mounts[i].MountPoint
		at, rest, ok := cutVolume(path, uid)
		if !ok {
			continue
		}
		pod = at
		if rest != folder {
			continue
		}
		switch s := h.compare(path, c); {
		case s.Relation == Same:
			return s
		case found.Relation == None:
			found = s
		case s.Mount.Device != found.Mount.Device:
			found = Standing{}
		}
	}
	if found.Relation == None {
		return h.unmounted(pod, folder, c)
	}
	return found
}

// unmounted is the Standing of a volume that the host has no mount of. pod is the pod's folder, "" when the table shows
// nothing of the pod: it may be that of another namespace than the kubelet's.
func (h *Host) unmounted(pod, folder string, c *Seen) Standing {
	if pod == "" {
		return Standing{}
	}
	s := h.compare(pod+"/volumes/"+folder, c)
	return Standing{Relation: which(c.Before != "", Gone, None), Folder: s.Folder}
}

// claim finds the host's mount of a volume whose folder is not known: by where the container's line says that it comes
// from, by the device, or by where it was before.
func (h *Host) claim(uid string, c *Seen) (s Standing, ok bool) {
	if c.Found {
		if folder := unmountedFolder(c.Mount.Root); folder != "" {
			return h.folder(uid, folder, c), true
		}
		if s, ok := h.byDevice(uid, c); ok {
			return s, true
		}
	}
	if c.Before == "" {
		return Standing{}, false
	}
	_, folder, _ := cutVolume(c.Before, uid)
	return h.folder(uid, folder, c), true
}

func (h *Host) byDevice(uid string, c *Seen) (Standing, bool) {
	var same, own []Standing
	for _, m := range h.candidates(uid) {
		if m.Device != c.Mount.Device {
			continue
		}
		s := h.compare(m.MountPoint, c)
		same = append(same, s)
		if s.Folder != "" {
			own = append(own, s)
		}
	}
	switch {
	case len(same) == 0:
		return Standing{}, false
	case len(own) == 1:
		return own[0], true
	default: // one server or disk has several volumes of the pod: whichever of them it is
		return Standing{Relation: Same, Mount: same[0].Mount}, true
	}
}

// candidates are the mounts of the pod that may be that of a claim.
func (h *Host) candidates(uid string) (all []mountinfo.Mount) {
	for _, i := range h.pods[uid] {
		path := h.table.Mounts[i].MountPoint
		_, rest, ok := cutVolume(path, uid)
		known := slices.ContainsFunc(all, func(m mountinfo.Mount) bool { return m.MountPoint == path })
		if !ok || known || !isVolumeFolder(rest) {
			continue
		}
		if m, ok := h.table.At(path); ok {
			all = append(all, m)
		}
	}
	return all
}

// eliminate finds the one claim that is left over the one mount that is left over, when it is of the same kind.
func (h *Host) eliminate(uid string, volumes []Volume, all []Standing, open []int) {
	name := volumes[open[0]].Name
	if slices.ContainsFunc(open, func(i int) bool { return volumes[i].Name != name }) {
		return
	}
	left := slices.DeleteFunc(h.candidates(uid), func(m mountinfo.Mount) bool { return taken(m.MountPoint, volumes, all) })
	if len(left) != 1 {
		return
	}
	for _, i := range open {
		if c := &volumes[i].Seen; !c.Found || c.Mount.FSType == left[0].FSType {
			all[i] = h.compare(left[0].MountPoint, c)
			all[i].Guess, all[i].Own = true, false
		}
	}
}

// taken reports whether the host's mount at path is that of a volume that is known.
func taken(path string, volumes []Volume, all []Standing) bool {
	for i := range volumes {
		folder := volumes[i].Host.Folder
		if all[i].Mount.MountPoint == path || volumes[i].Before == path || folder != "" && strings.HasSuffix(path, "/volumes/"+folder) {
			return true
		}
	}
	return false
}

// Below says how the host's mount at rest below the root of a volume relates to c, what the container has there. s is the
// volume's own Standing.
func (h *Host) Below(s Standing, rest string, c Seen) Standing {
	if h == nil || s.Folder == "" {
		return Standing{}
	}
	base := join(s.Folder, rest)
	b := h.compare(base, &c)
	if b.Mount.MountPoint == base || b.Relation == Unclear && h.isAutofs(base) {
		return b
	}
	return Standing{Relation: which(c.Before != "", Gone, None)}
}

func (h *Host) isAutofs(path string) bool {
	m, ok := h.table.Covering(path)
	return ok && m.FSType == "autofs"
}
