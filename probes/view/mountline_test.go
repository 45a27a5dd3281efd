package view_test

import (
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
)

func TestJudgeMountinfo(t *testing.T) {
	good := probes.Observation{Health: probes.Healthy, Operation: probes.OpStatx, Warning: probes.WarningNoSpace}
	for _, row := range []struct {
		name     string
		line     mountinfo.Mount
		traits   view.MountFacts
		look     probes.Observation
		health   probes.Health
		cause    probes.Cause
		byDesign bool
	}{
		{"plain", mountinfo.Mount{Root: "/", FSType: "ext4", SuperOptions: "rw"}, view.MountFacts{}, good, probes.Healthy, "", false},
		{"the mount, not the super block, is read-only", mountinfo.Mount{Root: "/", Options: "ro", FSType: "ext4", SuperOptions: "rw"}, view.MountFacts{}, good, probes.Healthy, "", false},
		{"options that only look so", mountinfo.Mount{Root: "/", FSType: "x", SuperOptions: "rw,ro,errors=remount-ro,noshutdown,emergency_ro=0"}, view.MountFacts{}, good, probes.Healthy, "", false},
		{"errors, but it takes writes", mountinfo.Mount{Root: "/", FSType: "ext4", SuperOptions: "rw"}, view.MountFacts{Errors: true}, good, probes.Healthy, "", false},
		{"errors after which it takes none, and does not tell", mountinfo.Mount{Root: "/", FSType: "ext4", SuperOptions: "rw"},
			view.MountFacts{Errors: true, StopsWrites: true}, good, probes.Broken, probes.CauseReadOnly, true},
		{"the same, of a pod that only reads", mountinfo.Mount{Root: "/", FSType: "ext4", SuperOptions: "rw"},
			view.MountFacts{ReadOnly: true, Errors: true, StopsWrites: true}, good, probes.Healthy, "", false},
		{"read-only after such errors", mountinfo.Mount{Root: "/", FSType: "ext4", SuperOptions: "ro"},
			view.MountFacts{Errors: true, StopsWrites: true}, good, probes.Broken, probes.CauseReadOnly, false},
		{"read-only", mountinfo.Mount{Root: "/", FSType: "ext4", SuperOptions: "ro,x"}, view.MountFacts{}, good, probes.Broken, probes.CauseReadOnly, true},
		{"read-only by its type", mountinfo.Mount{Root: "/", FSType: "squashfs", SuperOptions: "ro"}, view.MountFacts{}, good, probes.Healthy, "", false},
		{"read-only as asked", mountinfo.Mount{Root: "/", FSType: "ext4", SuperOptions: "ro,x"}, view.MountFacts{ReadOnly: true, Errors: true}, good, probes.Healthy, "", false},
		{"read-only after errors", mountinfo.Mount{Root: "/", FSType: "ext4", SuperOptions: "ro"}, view.MountFacts{Errors: true}, good, probes.Broken, probes.CauseReadOnly, false},
		{"emergency", mountinfo.Mount{Root: "/", FSType: "ext4", SuperOptions: "rw,emergency_ro"}, view.MountFacts{}, good, probes.Broken, probes.CauseReadOnly, false},
		{"emergency, though the pod only reads", mountinfo.Mount{Root: "/", FSType: "ext4", SuperOptions: "rw,emergency_ro"}, view.MountFacts{ReadOnly: true}, good, probes.Healthy, "", false},
		{"shut down", mountinfo.Mount{Root: "/", FSType: "xfs", SuperOptions: "rw,shutdown"}, view.MountFacts{ReadOnly: true}, good, probes.Broken, probes.CauseIOError, false},
		{"deleted", mountinfo.Mount{Root: "/a//deleted", FSType: "ext4", SuperOptions: "rw"}, view.MountFacts{}, good, probes.Broken, probes.CauseSourceDeleted, false},
		{"not deleted", mountinfo.Mount{Root: "/a/deleted", FSType: "ext4", SuperOptions: "rw"}, view.MountFacts{}, good, probes.Healthy, "", false},
		{"a file that was replaced", mountinfo.Mount{Root: "/a//deleted", FSType: "ext4", SuperOptions: "rw"}, view.MountFacts{IsFile: true}, good, probes.Healthy, "", false},
		{"renamed", mountinfo.Mount{Root: "/renamed", FSType: "ext4", SuperOptions: "rw"}, view.MountFacts{}, good, probes.Healthy, "", false},
		{"a name that a FUSE looks up anew", mountinfo.Mount{Root: "/a//deleted", FSType: "fuse.x", SuperOptions: "rw"}, view.MountFacts{}, good, probes.Healthy, "", false},
		{"deleted on a FUSE", mountinfo.Mount{Root: "/a//deleted", FSType: "fuse.x", SuperOptions: "rw"}, view.MountFacts{},
			probes.Observation{Operation: probes.OpStatx, Errno: syscall.ENOENT}, probes.Broken, probes.CauseSourceDeleted, false},
		{"not found, but not deleted", mountinfo.Mount{Root: "/a", FSType: "fuse.x", SuperOptions: "rw"}, view.MountFacts{},
			probes.Observation{Operation: probes.OpStatx, Errno: syscall.ENOENT}, probes.Unknown, "", false},
		{"a bad answer stays", mountinfo.Mount{Root: "/a//deleted", FSType: "ext4", SuperOptions: "ro,shutdown"}, view.MountFacts{},
			probes.Observation{Health: probes.Broken, Cause: probes.CauseStale}, probes.Broken, probes.CauseStale, false},
		{"no answer stays", mountinfo.Mount{Root: "/a//deleted", FSType: "ext4", SuperOptions: "ro,shutdown"}, view.MountFacts{}, probes.Observation{}, probes.Unknown, "", false},
	} {
		o := row.look
		view.JudgeMountinfo(&o, &row.line, row.traits)
		if o.Health != row.health || o.Cause != row.cause || o.ByDesign != row.byDesign || o.Warning != "" && o.Health == probes.Broken {
			t.Errorf("%s: %+v", row.name, o)
		}
	}
}

func TestTypes(t *testing.T) {
	for fsType, want := range map[string][2]bool{ // FUSE, remote
		"fuse": {true, true}, "fuseblk": {true, true}, "fuse.sshfs": {true, true}, "fusectl": {}, "fuse2": {}, "nfs": {false, true}, "nfs4": {false, true},
		"cifs": {false, true}, "ceph": {false, true}, "9p": {false, true}, "virtiofs": {false, true}, "nfsd": {}, "ext4": {}, "tmpfs": {}, "overlay": {}, "": {},
	} {
		if got := [2]bool{view.IsFUSE(fsType), view.IsRemote(fsType)}; got != want {
			t.Errorf("%s: %v", fsType, got)
		}
	}
	for fsType, want := range map[string]bool{"autofs": true, "devtmpfs": true, "fuse.autofs": false, "tmpfs": false} {
		if (view.WhyNeverProbed(fsType) != "") != want {
			t.Errorf("%s", fsType)
		}
	}
}

func TestOnlyAllowedUser(t *testing.T) {
	for line, want := range map[string]bool{
		"fuse.x rw,user_id=1000,group_id=100":                         true,
		"fuse.x rw,user_id=1000,group_id=100,default_permissions":     true,
		"fuse.x rw,user_id=0,group_id=0":                              false,
		"fuse.x rw,user_id=1000,group_id=100,allow_other":             false,
		"fuse.x rw,user_id=1000":                                      false,
		"fuse.x rw,user_id=-1,group_id=100":                           false,
		"fuse.x rw,user_id=99999999999,group_id=100":                  false,
		"ntfs rw,user_id=1000,group_id=100":                           false,
		"fuse.x rw,xuser_id=1000,user_id=0,group_id=100,group_id=100": false,
	} {
		m := newTable(t, "0:1 / /a "+line).Mounts[0]
		o, ok := view.OnlyAllowedUser(&m)
		if ok != want || ok && o != (view.User{UID: 1000, GID: 100}) {
			t.Errorf("%s: %+v %t", line, o, ok)
		}
	}
}

func TestMayBeReplaced(t *testing.T) {
	for _, row := range []struct {
		name       string
		lines      []string
		path       string
		own, below bool
	}{
		{"on the root", []string{"0:1 / / overlay rw master:1", "0:2 / /a fuse"}, "/a", false, true},
		{"private", []string{"0:1 / / overlay", "0:2 / /a ext4", "0:3 / /a/b fuse"}, "/a/b", false, false},
		{"shared", []string{"0:1 / / overlay", "0:2 / /a ext4 rw shared:1", "0:3 / /a/b fuse"}, "/a/b", false, false},
		{"below a slave", []string{"0:1 / / overlay", "0:2 / /a ext4 rw master:1", "0:3 / /a/b fuse"}, "/a/b", false, true},
		{"on top of a slave", []string{"0:1 / / overlay", "0:2 / /a ext4 rw master:1", "0:3 / /a fuse"}, "/a", true, true},
		{"the root itself", []string{"0:1 / / overlay rw master:1"}, "/", false, false},
	} {
		inside := newTable(t, row.lines...)
		m, _ := inside.At(row.path)
		if own, below := view.MayBeReplaced(inside, &m, true), view.MayBeReplaced(inside, &m, false); own != row.own || below != row.below {
			t.Errorf("%s: %t %t", row.name, own, below)
		}
	}
}

func TestIsStaleRoot(t *testing.T) {
	for _, row := range []struct {
		name  string
		lines []string
		path  string
		want  bool
	}{
		{"NFS", []string{"0:1 / / overlay", "0:2 / /a nfs"}, "/a", true},
		{"NFS 4 below a disk", []string{"0:1 / / overlay", "8:1 / /a ext4", "0:2 / /a/b nfs4"}, "/a/b", true},
		{"NFS below NFS", []string{"0:1 / / overlay", "0:2 / /a nfs", "0:3 / /a/b nfs4"}, "/a/b", false},
		{"NFS below what lies on NFS", []string{"0:1 / / nfs", "8:1 / /a ext4", "0:3 / /a/b nfs4"}, "/a/b", false},
		{"another file system", []string{"0:1 / / overlay", "0:2 / /a fuse.x"}, "/a", false},
		{"the root itself", []string{"0:1 / / nfs"}, "/", true},
	} {
		inside := newTable(t, row.lines...)
		m, _ := inside.At(row.path)
		if got := view.IsStaleRoot(inside, &m); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}
