package view_test

import (
	"slices"
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
)

func TestDetectUnmounted(t *testing.T) {
	const folder = "/var/lib/kubelet/pods/x/volumes/"
	none := view.HostMatch{Relation: view.RelationNone}
	for _, row := range []struct {
		name string
		root string
		host probes.HostVolume
		s    view.HostMatch
		want bool
	}{
		{"CSI", folder + "kubernetes.io~csi/v/mount", probes.HostVolume{}, none, true},
		{"CSI, host unclear", folder + "kubernetes.io~csi/v/mount", probes.HostVolume{}, view.HostMatch{}, true},
		{"CSI, subPath", folder + "kubernetes.io~csi/v/mount/a", probes.HostVolume{}, none, true},
		{"CSI, nested kubelet", "/k/pods/o/volumes/kubernetes.io~empty-dir/e" + folder + "kubernetes.io~csi/v/mount", probes.HostVolume{}, none, true},
		{"NFS", folder + "kubernetes.io~nfs/v", probes.HostVolume{}, none, true},
		{"beside CSI's folder", folder + "kubernetes.io~csi/v/mount-not", probes.HostVolume{}, none, false},
		{"above CSI's folder", folder + "kubernetes.io~csi/v", probes.HostVolume{}, none, false},
		{"emptyDir", folder + "kubernetes.io~empty-dir/v", probes.HostVolume{}, none, false},
		{"emptyDir with such a name", folder + "kubernetes.io~empty-dir/kubernetes.io~csi/v/mount", probes.HostVolume{}, none, false},
		{"a driver that may not mount", folder + "x~y/v", probes.HostVolume{}, none, false},
		{"the host's mount has the same root", folder + "kubernetes.io~csi/v/mount", probes.HostVolume{}, view.HostMatch{Relation: view.RelationSame}, false},
		{"a hostPath by design", folder + "kubernetes.io~csi/v/mount", probes.HostVolume{Path: folder}, none, false},
		{"no folder of a kubelet", "/pods/volumes/kubernetes.io~csi/v/mount", probes.HostVolume{}, none, false},
		{"any folder", "/", probes.HostVolume{}, none, false},
		{"beneath", "/x", probes.HostVolume{Path: "/x"}, view.HostMatch{Relation: view.RelationOther, Covered: true}, true},
		{"beneath what is only guessed", "/x", probes.HostVolume{}, view.HostMatch{Relation: view.RelationOther, Covered: true, Inferred: true}, false},
	} {
		if got := view.DetectUnmounted(&mountinfo.Mount{Root: row.root}, row.host, &row.s); (got != "") != row.want {
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
	other, guess := view.HostMatch{Relation: view.RelationOther}, view.HostMatch{Relation: view.RelationOther, Inferred: true}
	autofs := view.HostMatch{Relation: view.RelationOther, Mount: mountinfo.Mount{FSType: "autofs"}}
	for _, row := range []struct {
		name      string
		o         probes.Observation
		s         view.HostMatch
		host      probes.Observation
		cause     probes.Cause
		warning   probes.Warning
		tentative bool
	}{
		{"the same super block", healthy, view.HostMatch{Relation: view.RelationSame}, unknown, "", "", false},
		{"host unclear", healthy, view.HostMatch{}, unknown, "", "", false},
		{"a volume without a mount", healthy, view.HostMatch{Relation: view.RelationNone}, unknown, "", "", false},
		{"gone on the host", healthy, view.HostMatch{Relation: view.RelationGone}, unknown, "", probes.WarningHostBroken, false},
		{"broken on the host", healthy, other, broken(probes.CauseHung), "", probes.WarningHostBroken, false},
		{"anew on the host", healthy, other, healthy, "", probes.WarningStaleGeneration, false},
		{"anew on the host, no answer known", healthy, other, unknown, "", probes.WarningStaleGeneration, false},
		{"guessed", healthy, guess, broken(probes.CauseHung), "", "", false},
		{"autofs on the host", healthy, autofs, unknown, "", "", false},
		{"a warning of its own", full, other, healthy, "", probes.WarningNoSpace, false},

		{"both dead", broken(probes.CauseDisconnected), other, broken(probes.CauseDisconnected), probes.CauseDisconnected, "", false},
		{"host unknown", broken(probes.CauseIOError), other, unknown, probes.CauseIOError, "", false},
		{"the same super block is dead", broken(probes.CauseIOError), view.HostMatch{Relation: view.RelationSame}, healthy, probes.CauseIOError, "", false},
		{"dead generation", broken(probes.CauseDisconnected), other, healthy, probes.CauseStaleGeneration, "", false},
		{"hung generation", broken(probes.CauseHung), other, healthy, probes.CauseStaleGeneration, "", true},
		{"dead, host guessed", broken(probes.CauseDisconnected), guess, healthy, probes.CauseStaleGeneration, "", false},
		{"hung, host guessed", broken(probes.CauseHung), guess, healthy, probes.CauseStaleGeneration, "", true},
		{"read-only by design", byDesign, other, healthy, probes.CauseReadOnly, "", false},
		{"not mounted", broken(probes.CauseNotMounted), other, healthy, probes.CauseNotMounted, "", false},
		{"unknown", unknown, other, healthy, "", "", false},
		{"unknown, gone on the host", unknown, view.HostMatch{Relation: view.RelationGone}, unknown, "", "", false},
	} {
		o := row.o
		view.Combine(&o, &row.s, row.host)
		if o.Health != row.o.Health || o.Cause != row.cause || o.Warning != row.warning || o.Tentative != row.tentative {
			t.Errorf("%s: %+v", row.name, o)
		}
	}
}

// Whatever the host has, a healthy mount stays healthy, an unknown one unknown, and a broken one
// broken.
func TestCombineKeepsHealth(t *testing.T) {
	for relation := view.RelationUnclear; relation <= view.RelationGone; relation++ {
		for _, cause := range append(probes.Causes(), probes.CauseNone) {
			for _, host := range []probes.Health{probes.Unknown, probes.Healthy, probes.Broken} {
				for _, health := range []probes.Health{probes.Unknown, probes.Healthy, probes.Broken} {
					o := probes.Observation{Health: health, Cause: cause}
					s := view.HostMatch{Relation: relation}
					view.Combine(&o, &s, probes.Observation{Health: host})
					if o.Health != health || o.Warning != "" && health != probes.Healthy || o.Cause != cause && o.Cause != probes.CauseStaleGeneration {
						t.Errorf("%v %s %v became %+v", relation, cause, host, o)
					}
					if o.Cause != cause && (host != probes.Healthy || relation != view.RelationOther) {
						t.Errorf("%v %s %v became %s", relation, cause, host, o.Cause)
					}
				}
			}
		}
	}
}

func TestUseHostObservation(t *testing.T) {
	o := probes.Observation{Target: probes.Target{Path: "/d"}, Detail: "no process"}
	for _, health := range []probes.Health{probes.Unknown, probes.Healthy} {
		same := o
		view.UseHostObservation(&same, probes.Observation{Health: health, Errno: syscall.EIO})
		if same != o {
			t.Errorf("%v: %+v", health, same)
		}
	}
	view.UseHostObservation(&o, probes.Observation{Health: probes.Broken, Cause: probes.CauseStale, Device: "0:1"})
	if o.Cause != probes.CauseStale || o.Target.Path != "/d" || o.Device != "0:1" {
		t.Errorf("%+v", o)
	}
}

func TestJudgeMissingSubmount(t *testing.T) {
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
		{"the host has it", false, path, view.RelationOther, lost},
		{"declared, the host has it", true, path, view.RelationSame, lost},
		{"declared, nobody has it", true, path, view.RelationNone, never},
		{"declared, gone everywhere", true, dir, view.RelationGone, never},
		{"declared, host unclear", true, path, view.RelationUnclear, never},
		{"seen, host unclear", false, path, view.RelationUnclear, gone},
		{"seen in the pod's own folder", false, dir, view.RelationNone, gone},
		{"seen in the pod's own folder, gone everywhere", false, dir, view.RelationGone, gone},
		{"seen, nobody has it", false, path, view.RelationNone, probes.Observation{}},
		{"seen, gone everywhere", false, path, view.RelationGone, probes.Observation{}},
	} {
		var o probes.Observation
		view.JudgeMissingSubmount(&o, row.declared, row.host, &view.HostMatch{Relation: row.relation})
		if o.Detail == "" {
			t.Errorf("%s: no word of it", row.name)
		}
		if o.Detail = ""; o != row.want {
			t.Errorf("%s: %+v", row.name, o)
		}
	}
}

func TestSetNotMounted(t *testing.T) {
	for relation, tentative := range map[view.Relation]bool{view.RelationUnclear: false, view.RelationNone: true, view.RelationGone: true, view.RelationOther: false} {
		o := probes.Observation{}
		view.SetNotMounted(&o, "", &view.HostMatch{Relation: relation})
		if o.Cause != probes.CauseNotMounted || o.Tentative != tentative {
			t.Errorf("%v: %+v", relation, o)
		}
	}
}

func TestFindSubmounts(t *testing.T) {
	inside := newTable(t, "0:50 / / overlay", "8:1 /e /d ext4", "0:60 / /d/a fuse.x", "0:61 / /d/b tmpfs", "0:62 / /d/c/e nfs4", "0:63 / /d/other fuse.x",
		"0:64 / /d/other/in fuse.x", "0:65 / /data fuse.x", "0:66 / /d/hidden fuse.x", "0:67 / /d/hidden tmpfs",
		"0:68 / /d/auto autofs")
	type want struct {
		path            string
		found, declared bool
	}
	for _, row := range []struct {
		name  string
		below view.SubmountRules
		want  []want
	}{
		{"found", view.SubmountRules{Base: "/d", Others: []string{"/d/other", "/", "/d"}}, []want{{"/d/a", true, false}, {"/d/c/e", true, false}}},
		{"learnt", view.SubmountRules{Base: "/d", Others: []string{"/d/other"}, Learnt: []string{"/d/a", "/d/gone", "/d/other/gone", "/elsewhere"}},
			[]want{{"/d/a", true, false}, {"/d/c/e", true, false}, {"/d/gone", false, false}}},
		{"learnt on an automount point", view.SubmountRules{Base: "/d", Others: []string{"/d/other"}, Learnt: []string{"/d/auto/expired"}},
			[]want{{"/d/a", true, false}, {"/d/c/e", true, false}}},
		{"declared on an automount point", view.SubmountRules{Base: "/d/auto", Expected: []probes.Expected{{Path: "expired"}}, Learnt: []string{"/d/auto/expired"}},
			[]want{{"/d/auto/expired", false, true}}},
		{"declared", view.SubmountRules{Base: "/d", Others: []string{"/d/other"}, Expected: []probes.Expected{
			{Path: "a"}, {Path: "b", FSType: "tmpfs"}, {Path: "c/e", FSType: "nfs"}, {Path: "none"}}},
			[]want{{"/d/a", true, true}, {"/d/b", true, true}, {"/d/c/e", false, true}, {"/d/none", false, true}}},
		{"declared fuse", view.SubmountRules{Base: "/d/other", Expected: []probes.Expected{{Path: "in", FSType: "fuse"}}}, []want{{"/d/other/in", true, true}}},
		{"the base itself does not count", view.SubmountRules{Base: "/d/a"}, nil},
		{"the base itself", view.SubmountRules{Base: "/d/a", Own: true}, []want{{"/d/a", true, false}}},
		{"the base itself, missing", view.SubmountRules{Base: "/d/b", Own: true, Learnt: []string{"/d/b"}}, []want{{"/d/b", false, false}}},
	} {
		var got []want
		for _, c := range view.FindSubmounts(inside, row.below) {
			got = append(got, want{c.Path, c.Found, c.Declared})
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
}

func TestTransientSubmounts(t *testing.T) {
	const foreign = "/kubernetes.io~csi/v/mount fuse.x"
	for name, lines := range map[string][]string{
		"another export of the server":    {"0:60 / /d nfs4", "0:61 / /d/a nfs4"},
		"a referral":                      {"0:60 / /d cifs", "0:61 / /d/a smb3"},
		"a submount of virtiofs":          {"0:60 / /d virtiofs", "0:61 / /d/a virtiofs"},
		"another pod's volume":            {"8:1 / /d ext4", "0:61 / /d/var/lib/kubelet/pods/x/volumes" + foreign},
		"another pod's volume, by its id": {"8:1 / /d ext4", "0:61 / /d/x/volumes" + foreign},
		"a driver's own mount":            {"8:1 / /d ext4", "0:61 / /d/plugins/kubernetes.io/csi/x/globalmount fuse.x"},
	} {
		if got := view.FindSubmounts(newTable(t, append([]string{"0:50 / / overlay"}, lines...)...), view.SubmountRules{Base: "/d"}); len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, lines := range map[string][]string{
		"a server below another kind": {"0:60 / /d nfs4", "0:61 / /d/a cifs"},
		"a FUSE below a FUSE":         {"0:60 / /d fuse.x", "0:61 / /d/a fuse.x"},
		"a server below a disk":       {"8:1 / /d ext4", "0:61 / /d/a nfs4"},
		"a folder named volumes":      {"8:1 / /d ext4", "0:61 / /d/volumes/a fuse.x"},
	} {
		if got := view.FindSubmounts(newTable(t, append([]string{"0:50 / / overlay"}, lines...)...), view.SubmountRules{Base: "/d"}); len(got) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestMatchBelow(t *testing.T) {
	const folder = pod + "/volumes/kubernetes.io~empty-dir/v"
	h := view.NewHostTable(newTable(t, disk, token, "0:70 / "+folder+"/a fuse.x", "0:71 / "+folder+"/s/b fuse.x"))
	volume := func(root string) view.HostMatch {
		return h.MatchVolumes(uid, []view.VolumeMount{{Host: probes.HostVolume{Folder: "kubernetes.io~empty-dir/v"}, ContainerMount: mountAt(t, "/d", "8:1 "+root+" /d ext4")}})[0]
	}
	for _, row := range []struct {
		name   string
		root   string
		rest   string
		device string // what the container has; "" for nothing
		before string
		want   view.Relation
	}{
		{"the same", folder, "a", "0:70", "", view.RelationSame},
		{"another", folder, "a", "0:69", "", view.RelationOther},
		{"missing", folder, "a", "", "", view.RelationOther},
		{"with a subPath", folder + "/s", "b", "", "", view.RelationOther},
		{"on neither", folder, "c", "", "", view.RelationNone},
		{"on neither any more", folder, "c", "", folder + "/c", view.RelationGone},
		{"only in the container", folder, "c", "0:70", "", view.RelationNone},
		{"the volume is not found", "/elsewhere", "a", "", "", view.RelationUnclear},
	} {
		var seen view.ContainerMount
		if row.device != "" {
			seen = mountAt(t, "/d/x", row.device+" / /d/x fuse.x")
		}
		seen.LastHostPoint = row.before
		if s := h.MatchBelow(volume(row.root), row.rest, seen); s.Relation != row.want {
			t.Errorf("%s: %+v", row.name, s)
		}
	}
}
