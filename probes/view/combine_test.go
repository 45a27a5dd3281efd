package view_test

import (
	"slices"
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
)

func TestUnmounted(t *testing.T) {
	const folder = "/var/lib/kubelet/pods/x/volumes/"
	none := view.Standing{Relation: view.None}
	for _, row := range []struct {
		name string
		root string
		host probes.HostVolume
		s    view.Standing
		want bool
	}{
		{"CSI", folder + "kubernetes.io~csi/v/mount", probes.HostVolume{}, none, true},
		{"CSI, host unclear", folder + "kubernetes.io~csi/v/mount", probes.HostVolume{}, view.Standing{}, true},
		{"CSI, subPath", folder + "kubernetes.io~csi/v/mount/a", probes.HostVolume{}, none, true},
		{"CSI, nested kubelet", "/k/pods/o/volumes/kubernetes.io~empty-dir/e" + folder + "kubernetes.io~csi/v/mount", probes.HostVolume{}, none, true},
		{"NFS", folder + "kubernetes.io~nfs/v", probes.HostVolume{}, none, true},
		{"beside CSI's folder", folder + "kubernetes.io~csi/v/mount-not", probes.HostVolume{}, none, false},
		{"above CSI's folder", folder + "kubernetes.io~csi/v", probes.HostVolume{}, none, false},
		{"emptyDir", folder + "kubernetes.io~empty-dir/v", probes.HostVolume{}, none, false},
		{"emptyDir with such a name", folder + "kubernetes.io~empty-dir/kubernetes.io~csi/v/mount", probes.HostVolume{}, none, false},
		{"a driver that may not mount", folder + "x~y/v", probes.HostVolume{}, none, false},
		{"the host's mount has the same root", folder + "kubernetes.io~csi/v/mount", probes.HostVolume{}, view.Standing{Relation: view.Same}, false},
		{"a hostPath by design", folder + "kubernetes.io~csi/v/mount", probes.HostVolume{Path: folder}, none, false},
		{"no folder of a kubelet", "/pods/volumes/kubernetes.io~csi/v/mount", probes.HostVolume{}, none, false},
		{"any folder", "/", probes.HostVolume{}, none, false},
		{"beneath", "/x", probes.HostVolume{Path: "/x"}, view.Standing{Relation: view.Other, Beneath: true}, true},
		{"beneath what is only guessed", "/x", probes.HostVolume{}, view.Standing{Relation: view.Other, Beneath: true, Guess: true}, false},
	} {
		if got := view.Unmounted(&mountinfo.Mount{Root: row.root}, row.host, &row.s); (got != "") != row.want {
			t.Errorf("%s: %q", row.name, got)
		}
	}
}

func TestCombine(t *testing.T) {
	broken := func(c probes.Cause) probes.Observation { return probes.Observation{Health: probes.Broken, Cause: c} }
	byDesign := broken(probes.CauseReadOnly)
	byDesign.ByDesign = true
	healthy, unknown := probes.Observation{Health: probes.Healthy}, probes.Observation{}
	full := probes.Observation{Health: probes.Healthy, Warning: probes.WarningNoSpace}
	other, guess := view.Standing{Relation: view.Other}, view.Standing{Relation: view.Other, Guess: true}
	autofs := view.Standing{Relation: view.Other, Mount: mountinfo.Mount{FSType: "autofs"}}
	for _, row := range []struct {
		name      string
		o         probes.Observation
		s         view.Standing
		host      probes.Observation
		cause     probes.Cause
		warning   probes.Warning
		tentative bool
	}{
		{"the same super block", healthy, view.Standing{Relation: view.Same}, unknown, "", "", false},
		{"host unclear", healthy, view.Standing{}, unknown, "", "", false},
		{"a volume without a mount", healthy, view.Standing{Relation: view.None}, unknown, "", "", false},
		{"gone on the host", healthy, view.Standing{Relation: view.Gone}, unknown, "", probes.WarningHostBroken, false},
		{"broken on the host", healthy, other, broken(probes.CauseHung), "", probes.WarningHostBroken, false},
		{"anew on the host", healthy, other, healthy, "", probes.WarningStaleGeneration, false},
		{"anew on the host, no answer known", healthy, other, unknown, "", probes.WarningStaleGeneration, false},
		{"guessed", healthy, guess, broken(probes.CauseHung), "", "", false},
		{"autofs on the host", healthy, autofs, unknown, "", "", false},
		{"a warning of its own", full, other, healthy, "", probes.WarningNoSpace, false},

		{"both dead", broken(probes.CauseDisconnected), other, broken(probes.CauseDisconnected), probes.CauseDisconnected, "", false},
		{"host unknown", broken(probes.CauseIOError), other, unknown, probes.CauseIOError, "", false},
		{"the same super block is dead", broken(probes.CauseIOError), view.Standing{Relation: view.Same}, healthy, probes.CauseIOError, "", false},
		{"dead generation", broken(probes.CauseDisconnected), other, healthy, probes.CauseStaleGeneration, "", false},
		{"hung generation", broken(probes.CauseHung), other, healthy, probes.CauseStaleGeneration, "", true},
		{"dead, host guessed", broken(probes.CauseDisconnected), guess, healthy, probes.CauseStaleGeneration, "", false},
		{"hung, host guessed", broken(probes.CauseHung), guess, healthy, probes.CauseStaleGeneration, "", true},
		{"read-only by design", byDesign, other, healthy, probes.CauseReadOnly, "", false},
		{"not mounted", broken(probes.CauseNotMounted), other, healthy, probes.CauseNotMounted, "", false},
		{"unknown", unknown, other, healthy, "", "", false},
		{"unknown, gone on the host", unknown, view.Standing{Relation: view.Gone}, unknown, "", "", false},
	} {
		o := row.o
		view.Combine(&o, &row.s, row.host)
		if o.Health != row.o.Health || o.Cause != row.cause || o.Warning != row.warning || o.Tentative != row.tentative {
			t.Errorf("%s: %+v", row.name, o)
		}
	}
}

// Whatever the host says, a healthy mount stays healthy, an unknown one unknown and a broken one broken.
func TestCombineKeepsHealth(t *testing.T) {
	for relation := view.Unclear; relation <= view.Gone; relation++ {
		for _, cause := range append(probes.Causes(), probes.CauseNone) {
			for _, host := range []probes.Health{probes.Unknown, probes.Healthy, probes.Broken} {
				for _, health := range []probes.Health{probes.Unknown, probes.Healthy, probes.Broken} {
					o := probes.Observation{Health: health, Cause: cause}
					s := view.Standing{Relation: relation}
					view.Combine(&o, &s, probes.Observation{Health: host})
					if o.Health != health || o.Warning != "" && health != probes.Healthy || o.Cause != cause && o.Cause != probes.CauseStaleGeneration {
						t.Errorf("%v %s %v became %+v", relation, cause, host, o)
					}
					if o.Cause != cause && (host != probes.Healthy || relation != view.Other) {
						t.Errorf("%v %s %v became %s", relation, cause, host, o.Cause)
					}
				}
			}
		}
	}
}

func TestHostOnly(t *testing.T) {
	o := probes.Observation{Target: probes.Target{Path: "/d"}, Detail: "no process"}
	for _, health := range []probes.Health{probes.Unknown, probes.Healthy} {
		same := o
		view.HostOnly(&same, probes.Observation{Health: health, Errno: syscall.EIO})
		if same != o {
			t.Errorf("%v: %+v", health, same)
		}
	}
	view.HostOnly(&o, probes.Observation{Health: probes.Broken, Cause: probes.CauseStale, Device: "0:1"})
	if o.Cause != probes.CauseStale || o.Target.Path != "/d" || o.Device != "0:1" {
		t.Errorf("%+v", o)
	}
}

func TestBelowMissing(t *testing.T) {
	dir, path := probes.HostVolume{Folder: "kubernetes.io~empty-dir/v"}, probes.HostVolume{Path: "/srv"}
	lost := probes.Observation{Health: probes.Broken, Cause: probes.CauseNotMounted}
	gone := lost
	gone.Tentative = true
	never := gone
	never.ByDesign = true
	for _, row := range []struct {
		name     string
		declared bool
		host     probes.HostVolume
		relation view.Relation
		want     probes.Observation
	}{
		{"the host has it", false, path, view.Other, lost},
		{"declared, the host has it", true, path, view.Same, lost},
		{"declared, nobody has it", true, path, view.None, never},
		{"declared, gone everywhere", true, dir, view.Gone, never},
		{"declared, host unclear", true, path, view.Unclear, never},
		{"seen, host unclear", false, path, view.Unclear, gone},
		{"seen in the pod's own folder", false, dir, view.None, gone},
		{"seen in the pod's own folder, gone everywhere", false, dir, view.Gone, gone},
		{"seen, nobody has it", false, path, view.None, probes.Observation{}},
		{"seen, gone everywhere", false, path, view.Gone, probes.Observation{}},
	} {
		var o probes.Observation
		view.BelowMissing(&o, row.declared, row.host, &view.Standing{Relation: row.relation})
		if o.Detail == "" {
			t.Errorf("%s: no word of it", row.name)
		}
		if o.Detail = ""; o != row.want {
			t.Errorf("%s: %+v", row.name, o)
		}
	}
}

func TestNotMounted(t *testing.T) {
	for relation, tentative := range map[view.Relation]bool{view.Unclear: false, view.None: true, view.Gone: true, view.Other: false} {
		o := probes.Observation{}
		view.NotMounted(&o, "", &view.Standing{Relation: relation})
		if o.Cause != probes.CauseNotMounted || o.Tentative != tentative {
			t.Errorf("%v: %+v", relation, o)
		}
	}
}

func TestChildren(t *testing.T) {
	inside := table(t, "0:50 / / overlay", "8:1 /e /d ext4", "0:60 / /d/a fuse.x", "0:61 / /d/b tmpfs", "0:62 / /d/c/e nfs4", "0:63 / /d/other fuse.x",
		"0:64 / /d/other/in fuse.x", "0:65 / /data fuse.x", "0:66 / /d/hidden fuse.x", "0:67 / /d/hidden tmpfs",
		"0:68 / /d/auto autofs")
	type want struct {
		path            string
		found, declared bool
	}
	for _, row := range []struct {
		name  string
		below view.Below
		want  []want
	}{
		{"found", view.Below{Base: "/d", Others: []string{"/d/other", "/", "/d"}}, []want{{"/d/a", true, false}, {"/d/c/e", true, false}}},
		{"learnt", view.Below{Base: "/d", Others: []string{"/d/other"}, Learnt: []string{"/d/a", "/d/gone", "/d/other/gone", "/elsewhere"}},
			[]want{{"/d/a", true, false}, {"/d/c/e", true, false}, {"/d/gone", false, false}}},
		{"learnt on an automount point", view.Below{Base: "/d", Others: []string{"/d/other"}, Learnt: []string{"/d/auto/expired"}},
			[]want{{"/d/a", true, false}, {"/d/c/e", true, false}}},
		{"declared on an automount point", view.Below{Base: "/d/auto", Expected: []probes.Expected{{Path: "expired"}}, Learnt: []string{"/d/auto/expired"}},
			[]want{{"/d/auto/expired", false, true}}},
		{"declared", view.Below{Base: "/d", Others: []string{"/d/other"}, Expected: []probes.Expected{
			{Path: "a"}, {Path: "b", FSType: "tmpfs"}, {Path: "c/e", FSType: "nfs"}, {Path: "none"}}},
			[]want{{"/d/a", true, true}, {"/d/b", true, true}, {"/d/c/e", false, true}, {"/d/none", false, true}}},
		{"declared fuse", view.Below{Base: "/d/other", Expected: []probes.Expected{{Path: "in", FSType: "fuse"}}}, []want{{"/d/other/in", true, true}}},
		{"the base itself does not count", view.Below{Base: "/d/a"}, nil},
		{"the base itself", view.Below{Base: "/d/a", Own: true}, []want{{"/d/a", true, false}}},
		{"the base itself, missing", view.Below{Base: "/d/b", Own: true, Learnt: []string{"/d/b"}}, []want{{"/d/b", false, false}}},
	} {
		var got []want
		for _, c := range view.Children(inside, row.below) {
			got = append(got, want{c.Path, c.Found, c.Declared})
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
}

func TestChildrenThatComeAndGo(t *testing.T) {
	const foreign = "/kubernetes.io~csi/v/mount fuse.x"
	for name, lines := range map[string][]string{
		"another export of the server":    {"0:60 / /d nfs4", "0:61 / /d/a nfs4"},
		"a referral":                      {"0:60 / /d cifs", "0:61 / /d/a smb3"},
		"a submount of virtiofs":          {"0:60 / /d virtiofs", "0:61 / /d/a virtiofs"},
		"another pod's volume":            {"8:1 / /d ext4", "0:61 / /d/var/lib/kubelet/pods/x/volumes" + foreign},
		"another pod's volume, by its id": {"8:1 / /d ext4", "0:61 / /d/x/volumes" + foreign},
		"a driver's own mount":            {"8:1 / /d ext4", "0:61 / /d/plugins/kubernetes.io/csi/x/globalmount fuse.x"},
	} {
		if got := view.Children(table(t, append([]string{"0:50 / / overlay"}, lines...)...), view.Below{Base: "/d"}); len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, lines := range map[string][]string{
		"a server below another kind": {"0:60 / /d nfs4", "0:61 / /d/a cifs"},
		"a FUSE below a FUSE":         {"0:60 / /d fuse.x", "0:61 / /d/a fuse.x"},
		"a server below a disk":       {"8:1 / /d ext4", "0:61 / /d/a nfs4"},
		"a folder named volumes":      {"8:1 / /d ext4", "0:61 / /d/volumes/a fuse.x"},
	} {
		if got := view.Children(table(t, append([]string{"0:50 / / overlay"}, lines...)...), view.Below{Base: "/d"}); len(got) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestBelow(t *testing.T) {
	const folder = pod + "/volumes/kubernetes.io~empty-dir/v"
	h := view.NewHost(table(t, disk, token, "0:70 / "+folder+"/a fuse.x", "0:71 / "+folder+"/s/b fuse.x"))
	volume := func(root string) view.Standing {
		return h.Volumes(uid, []view.Volume{{Host: probes.HostVolume{Folder: "kubernetes.io~empty-dir/v"}, Seen: at(t, "/d", "8:1 "+root+" /d ext4")}})[0]
	}
	for _, row := range []struct {
		name   string
		root   string
		rest   string
		device string // what the container has; "" for nothing
		before string
		want   view.Relation
	}{
		{"the same", folder, "a", "0:70", "", view.Same},
		{"another", folder, "a", "0:69", "", view.Other},
		{"missing", folder, "a", "", "", view.Other},
		{"with a subPath", folder + "/s", "b", "", "", view.Other},
		{"on neither", folder, "c", "", "", view.None},
		{"on neither any more", folder, "c", "", folder + "/c", view.Gone},
		{"only in the container", folder, "c", "0:70", "", view.None},
		{"the volume is not found", "/elsewhere", "a", "", "", view.Unclear},
	} {
		var seen view.Seen
		if row.device != "" {
			seen = at(t, "/d/x", row.device+" / /d/x fuse.x")
		}
		seen.Before = row.before
		if s := h.Below(volume(row.root), row.rest, seen); s.Relation != row.want {
			t.Errorf("%s: %+v", row.name, s)
		}
	}
}
