package stuck

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// newPodOnlyNode has a FUSE 0:57 that only the pod uses: at its volume and in its container.
func newPodOnlyNode(t *testing.T) *node {
	n := newNode(t)
	n.addContainer(12, podA, 'D', "request_wait_answer", mountLine("0:57", "/data", "fuse.s3fs"))
	n.addContainer(30, podB, 'S', "ep_poll", mountLine("0:70", "/data", "fuse.s3fs"))
	n.addProcess(40, 'S', "ep_poll", "0::/system.slice/kubelet.service", n.hostRootLine())
	n.addHostMount("0:57", volumePath(podA), "fuse.s3fs")
	n.addHostMount("0:70", volumePath(podB), "fuse.s3fs")
	n.addConnection(57, 1)
	n.addConnection(70, 1)
	return n
}

// hostRootLine is the line that identifies the host's mounts.
func (n *node) hostRootLine() string { return n.host[0] }

func TestAbort(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(*node)
		want string // a part of the refusal; "" when it is aborted
	}{
		{"the pod's alone", func(*node) {}, ""},
		{"staged by the kubelet as well", func(n *node) {
			n.addHostMount("0:57", "/var/lib/kubelet/plugins/kubernetes.io/csi/s3.example/0123/globalmount", "fuse.s3fs")
		}, ""},
		{"seen by the driver, too", func(n *node) {
			n.addProcess(50, 'S', "ep_poll", "0::/kubepods/pod"+strings.ReplaceAll(podB, "c", "d"), rootLine(50), mountLine("0:57", volumePath(podA), "fuse.s3fs"))
		}, ""},
		{"left by all processes", func(n *node) { n.remove("12") }, ""},
		{"unmounted on the host and held by a process", func(n *node) {
			n.host = n.host[:1]
			n.addHostMount("0:70", volumePath(podB), "fuse.s3fs")
		}, ""},
		{"a process is just exiting", func(n *node) { n.addProcess(51, 'S', "", "0::/") }, ""},
		{"another pod's volume", func(n *node) { n.addHostMount("0:57", volumePath(podB), "fuse.s3fs") }, "the pod " + podB + " uses 0:57 as well"},
		{"held by another pod's container only", func(n *node) {
			n.addContainer(31, podB, 'S', "ep_poll", mountLine("0:57", "/other", "fuse.s3fs"))
		}, "mounted at /other of process 31"},
		{"held by another pod's container whose first thread has exited", func(n *node) {
			n.addProcess(31, 'Z', "", "0::/kubepods/pod"+podB)
			n.addThread(31, 32, 'S', "")
			n.write(rootLine(31)+mountLine("0:57", "/other", "fuse.s3fs"), "31/task/32/mountinfo")
		}, "mounted at /other of process 31"},
		{"on the host elsewhere, for hostPath volumes", func(n *node) { n.addHostMount("0:57", "/mnt/shared", "fuse.s3fs") }, "mounted at /mnt/shared of process 1"},
		{"in another process's own mounts", func(n *node) {
			n.addProcess(52, 'S', "ep_poll", "0::/system.slice/backup.service", rootLine(52), mountLine("0:57", "/backup", "fuse.s3fs"))
		}, "mounted at /backup of process 52"},
		{"a process of the pod in the host's mounts makes those not the pod's", func(n *node) {
			n.addHostMount("0:57", "/mnt/shared", "fuse.s3fs")
			n.addProcess(53, 'S', "ep_poll", "0::/kubepods/pod"+podA, n.host...)
		}, "mounted at /mnt/shared of process 1"},
		{"no FUSE any more: the number was given to another", func(n *node) {
			n.host = n.host[:1]
			n.addHostMount("0:57", volumePath(podA), "tmpfs")
		}, "is no FUSE file system but tmpfs"},
		{"mounted nowhere any more", func(n *node) { n.host = n.host[:1]; n.addHostMount("0:58", "/x", "tmpfs"); n.remove("12") }, "is mounted nowhere in the pod"},
		{"the host's mounts cannot be read", func(n *node) { n.remove("1/mountinfo") }, "cannot be told"},
		{"the host's mounts are not understood", func(n *node) { n.write("what\n", "1/mountinfo") }, "1 mounts of process 1 are not understood"},
		{"another process's mounts are not understood", func(n *node) { n.write("what\n", "30/mountinfo") }, "1 mounts of process 30 are not understood"},
		{"another process's mounts are too many", func(n *node) { n.write(strings.Repeat("\n", 20_001), "30/mountinfo") }, "too large"},
		{"not the host's processes", func(n *node) { n.remove("1/mountinfo"); n.remove("1/cgroup"); n.remove("1/task") }, "cannot be told"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newPodOnlyNode(t)
			tc.make(n)
			expectAbort(t, n, New(n.root).Abort(t.Context(), podA, "0:57"), tc.want)
		})
	}
}

func expectAbort(t *testing.T, n *node, err error, refusal string) {
	t.Helper()
	written := n.read(connectionFile(57, "abort")...)
	switch {
	case refusal == "" && (err != nil || written != "1"):
		t.Errorf("not aborted: %v %q", err, written)
	case refusal != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), refusal)):
		t.Errorf("%v, want a refusal with %q", err, refusal)
	case refusal != "" && written != "":
		t.Error("aborted all the same")
	}
	if other := n.read(connectionFile(70, "abort")...); other != "" {
		t.Error("another connection was aborted")
	}
}

func TestAbortOfNoDevice(t *testing.T) {
	n := newPodOnlyNode(t)
	for _, device := range []string{"", "0:", ":57", "57", "0:0", "8:57", "0:057", "0:+57", "0:57 ", "0:../57", "0:4294967296", "00:57"} {
		if err := New(n.root).Abort(t.Context(), podA, device); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", device, err)
		}
	}
	expectAbort(t, n, New(n.root).Abort(t.Context(), "../..", "0:57"), "uses 0:57 as well")
	expectAbort(t, n, New(n.root).Abort(t.Context(), podB, "0:57"), "uses 0:57 as well")
}

func TestAbortInTimeOnly(t *testing.T) {
	n := newPodOnlyNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	expectAbort(t, n, New(n.root).Abort(ctx, podA, "0:57"), "context canceled")
}

// Where the host has no fusectl nothing can be aborted, and the error says what to do.
func TestAbortWithoutFusectl(t *testing.T) {
	n := newPodOnlyNode(t)
	n.remove("1/root")
	if err := New(n.root).Abort(t.Context(), podA, "0:57"); err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "mount fusectl") {
		t.Error(err)
	}
	n.write("", append(connectionFile(57, "abort"), "is a folder")...)
	if err := New(n.root).Abort(t.Context(), podA, "0:57"); err == nil || errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

func TestNamespacesOnce(t *testing.T) {
	n := newPodOnlyNode(t)
	n.addProcess(60, 'S', "", "0::/system.slice/a.service", n.host...)
	n.addProcess(61, 'S', "", "0::/kubepods/pod"+podA, rootLine(12))
	n.addProcess(62, 'S', "", "0::/kubepods/pod"+podA, rootLine(30)) // entered the other pod's
	got, err := New(n.root).listNamespaces(t.Context(), podA, mountinfo.Device{Minor: 57})
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v %v", got, err)
	}
	for i, want := range []namespace{{pid: 1}, {pid: 12, own: true}, {pid: 30, own: true}} {
		if got[i].pid != want.pid || got[i].own != want.own {
			t.Errorf("%+v, want %+v", got[i], want)
		}
	}
	if _, err := New(n.root+"/none").listNamespaces(t.Context(), podA, mountinfo.Device{Minor: 57}); err == nil {
		t.Error("no /proc has namespaces")
	}
	n.remove("1")
	if got, err := New(n.root).listNamespaces(t.Context(), podA, mountinfo.Device{Minor: 57}); err == nil {
		t.Errorf("%+v of a /proc that is not the host's", got)
	}
}

// FuzzAnonDevice: what is accepted is the text of a device with the major number 0, and nothing else.
func FuzzAnonDevice(f *testing.F) {
	for _, s := range []string{"0:57", "8:1", "0:", "0:-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseAnonDevice(text); err == nil && (d.String() != text || d.Major != 0 || d.Minor == 0) {
			t.Errorf("%q is read as %s", text, d)
		}
	})
}
