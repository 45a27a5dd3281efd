package stuck

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestWhy(t *testing.T) {
	for _, tc := range []struct {
		name  string
		make  func(*node)
		known bool
		want  string
		fuse  []string
	}{
		{"nothing is left", func(*node) {}, true,
			"no process and no mount of it is left on the node: the kubelet or the container runtime may be down", nil},
		{"it waits for its only FUSE", func(n *node) {
			n.addContainer(12, podA, 'D', "request_wait_answer", mountLine("0:57", "/data", "fuse.s3fs"), mountLine("0:58", "/etc", "tmpfs"))
		}, true, "process 12 (app) waits in fuse (request_wait_answer) on 0:57 /data", []string{"0:57"}},
		{"one of its threads does", func(n *node) {
			n.addContainer(12, podA, 'Z', "0", mountLine("0:57", "/data", "fuse"))
			n.addThread(12, 13, 'D', "request_wait_answer")
			n.write(mountLine("0:57", "/data", "fuse"), "12/task/13/mountinfo")
			n.addThread(12, 14, 'S', "futex_wait_queue")
		}, true, "process 12 (app) waits in fuse (request_wait_answer) on 0:57 /data", []string{"0:57"}},
		{"it waits for one of two, and one owes answers", func(n *node) {
			n.addContainer(12, podA, 'D', "fuse_wait_on_page_writeback", mountLine("0:57", "/data", "fuse"), mountLine("0:58", "/more", "fuse"))
			n.addConnection(57, 0)
			n.addConnection(58, 3)
		}, true, "process 12 (app) waits in fuse (fuse_wait_on_page_writeback) on 0:58 /more", []string{"0:58"}},
		{"it waits for one of two, and nobody tells which", func(n *node) {
			n.addContainer(12, podA, 'D', "request_wait_answer", mountLine("0:57", "/data", "fuse"), mountLine("0:58", "/more", "fuse"), mountLine("0:57", "/again", "fuse"))
		}, true, "process 12 (app) waits in fuse (request_wait_answer) on one of 0:57 /data, 0:58 /more", nil},
		{"it waits for NFS", func(n *node) {
			n.addContainer(12, podA, 'D', "rpc_wait_bit_killable", mountLine("0:57", "/data", "fuse"), mountLine("0:60", "/nfs", "nfs4"))
		}, true, "process 12 (app) waits in nfs (rpc_wait_bit_killable) on 0:60 /nfs", nil},
		{"it waits for a lock that who waits for FUSE has", func(n *node) {
			n.addContainer(12, podA, 'D', "rwsem_down_write_slowpath", mountLine("0:57", "/data", "fuse"), mountLine("0:60", "/nfs", "nfs4"))
			n.addConnection(57, 1)
		}, true, "process 12 (app) waits in the kernel and cannot be killed (rwsem_down_write_slowpath) on 0:57 /data", []string{"0:57"}},
		{"it waits for a disk", func(n *node) {
			n.addContainer(12, podA, 'D', "folio_wait_bit_common", mountLine("0:57", "/data", "fuse"))
			n.addConnection(57, 0)
		}, true, "process 12 (app) waits in the kernel and cannot be killed (folio_wait_bit_common)", nil},
		{"it has written to NFS, whose server is away", func(n *node) {
			n.addContainer(12, podA, 'D', "folio_wait_bit_common", mountLine("0:57", "/data", "fuse"), mountLine("0:60", "/nfs", "nfs4"), mountLine("8:1", "/disk", "ext4"))
			n.addConnection(57, 0)
		}, true, "process 12 (app) has written what has not reached its server, and cannot be killed until it does (folio_wait_bit_common) on 0:60 /nfs", nil},
		{"it has written to one of several on Linux 5.10", func(n *node) {
			n.addContainer(12, podA, 'D', "wait_on_page_bit", mountLine("0:60", "/nfs", "nfs"), mountLine("0:60", "/nfs/again", "nfs"), mountLine("0:61", "/smb", "cifs"))
		}, true, "process 12 (app) has written what has not reached its server, and cannot be killed until it does (wait_on_page_bit) on one of 0:60 /nfs, 0:61 /smb", nil},
		{"it waits, the kernel does not tell where, and there is NFS", func(n *node) {
			n.addContainer(12, podA, 'D', "0", mountLine("0:60", "/nfs", "nfs"), mountLine("8:1", "/disk", "ext4"))
		}, true, "process 12 (app) waits in the kernel and cannot be killed (where is not told) on 0:60 /nfs", nil},
		{"it has written to a FUSE that owes answers", func(n *node) {
			n.addContainer(12, podA, 'D', "folio_wait_writeback", mountLine("0:57", "/data", "fuse"), mountLine("0:60", "/nfs", "nfs4"))
			n.addConnection(57, 2)
		}, true, "process 12 (app) has written what has not reached its server, and cannot be killed until it does (folio_wait_writeback) on 0:57 /data", []string{"0:57"}},
		{"it waits and the kernel does not tell where", func(n *node) { n.addContainer(12, podA, 'D', "0") }, true,
			"process 12 (app) waits in the kernel and cannot be killed (where is not told)", nil},
		{"it starts a program", func(n *node) {
			n.addContainer(12, podA, 'D', "would wait", mountLine("0:57", "/data", "fuse"))
			n.write(strings.Replace(statusText('D'), " 16 kB", " 0 kB", 1), "12/task/12/status")
			n.addConnection(57, 1)
		}, true, "process 12 (app) starts a program, waits for a file to be closed and cannot be killed on 0:57 /data", []string{"0:57"}},
		{"nobody has killed it", func(n *node) { n.addContainer(12, podA, 'S', "ep_poll", mountLine("0:57", "/data", "fuse")) }, true,
			"process 12 (app) is alive (state S): nobody has killed it", nil},
		{"it waits for its children", func(n *node) {
			n.addContainer(12, podA, 'S', "zap_pid_ns_processes")
			n.write("Name:\tapp\nState:\tS (sleeping)\nKthread:\t0\n", "12/task/12/status")
		}, true, "process 12 (app) was killed and waits for the other processes of its container", nil},
		{"nobody reaps it", func(n *node) { n.addProcess(12, 'Z', "0", "0::/kubepods/pod"+podA) }, true,
			"process 12 (app) has exited, and its parent does not take note: the container runtime may be down", nil},
		{"the kernel's own thread", func(n *node) {
			n.addContainer(12, podA, 'D', "kthreadd")
			n.write("Name:\tvhost\nState:\tD (disk sleep)\nKthread:\t1\n", "12/task/12/status")
		}, true, "no process and no mount of it is left on the node: the kubelet or the container runtime may be down", nil},
		{"the worst come first", func(n *node) {
			n.addContainer(11, podA, 'S', "ep_poll")
			n.addProcess(12, 'Z', "0", "0::/kubepods/pod"+podA)
			for pid := 20; pid < 23; pid++ {
				n.addContainer(pid, podA, 'D', "request_wait_answer", mountLine("0:57", "/data", "fuse"))
			}
		}, true, "process 20 (app) waits in fuse (request_wait_answer) on 0:57 /data; process 21 (app) waits in fuse (request_wait_answer) on 0:57 /data; " +
			"process 22 (app) waits in fuse (request_wait_answer) on 0:57 /data; and 2 more processes", []string{"0:57"}},
		{"of another pod", func(n *node) {
			n.addContainer(12, podB, 'D', "request_wait_answer", mountLine("0:57", "/data", "fuse"))
			n.addHostMount("0:57", volumePath(podB), "fuse")
			n.addConnection(57, 1)
		}, true, "no process and no mount of it is left on the node: the kubelet or the container runtime may be down", nil},
		{"a volume is left", func(n *node) { n.addHostMount("0:60", volumePath(podA), "nfs4") }, true,
			"no process is left, but the volume data is still mounted at " + volumePath(podA) + " (nfs4, 0:60): unmounting it fails or waits, or its driver is gone", nil},
		{"a FUSE volume is left that owes an answer", func(n *node) {
			n.addHostMount("0:57", volumePath(podA), "fuse.s3fs")
			n.addConnection(57, 2)
		}, true, "no process is left, but the volume data is still mounted at " + volumePath(podA) +
			" (fuse.s3fs, 0:57), where 2 requests have no answer: unmounting it fails or waits, or its driver is gone", []string{"0:57"}},
		{"what serves the volume is told first", func(n *node) {
			n.addHostMount("0:58", "/var/lib/kubelet/pods/"+podA+"/volumes/kubernetes.io~secret/token", "tmpfs")
			n.addHostMount("0:60", volumePath(podA), "nfs4")
		}, true, "no process is left, but the volume data is still mounted at " + volumePath(podA) + " (nfs4, 0:60), the volume token is still mounted at " +
			"/var/lib/kubelet/pods/" + podA + "/volumes/kubernetes.io~secret/token (tmpfs, 0:58): unmounting it fails or waits, or its driver is gone", nil},
		{"a bind of a subPath is left", func(n *node) {
			n.addHostMount("0:57", "/var/lib/kubelet/pods/"+podA+"/volume-subpaths/data/app/0", "fuse")
		}, true, "no process is left, but the volume 0 is still mounted at /var/lib/kubelet/pods/" + podA +
			"/volume-subpaths/data/app/0 (fuse, 0:57): unmounting it fails or waits, or its driver is gone", nil},
		{"the host's mounts cannot be read", func(n *node) { n.remove("1/mountinfo") }, false, "could not look; read the host's mounts: ", nil},
		{"the host's mounts are not understood", func(n *node) { n.write("36 35 what", "1/mountinfo") }, false,
			"could not look; read the host's mounts: 1 lines are not understood", nil},
		{"the host's mounts cannot be read, but a process waits", func(n *node) {
			n.addContainer(12, podA, 'D', "request_wait_answer", mountLine("0:57", "/data", "fuse"))
			n.write("36 35 what", "1/mountinfo")
		}, true, "process 12 (app) waits in fuse (request_wait_answer) on 0:57 /data; read the host's mounts: 1 lines are not understood", []string{"0:57"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newNode(t)
			tc.make(n)
			got := New(n.root).Why(t.Context(), podA)
			if got.Known != tc.known || !strings.HasPrefix(got.Text, tc.want) || tc.known && got.Text != tc.want || !slices.Equal(got.FUSE, tc.fuse) {
				t.Errorf("%+v\nwant %t %q %v", got, tc.known, tc.want, tc.fuse)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	n := newNode(t)
	n.addContainer(12, podA, 'D', "request_wait_answer")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, got := range map[string]string{
		"no /proc":    New(n.root+"/none").Why(t.Context(), podA).Text,
		"no UID":      New(n.root).Why(t.Context(), "../..").Text,
		"not in time": New(n.root).Why(ended, podA).Text,
	} {
		if !strings.HasPrefix(got, "could not look; ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if os.Geteuid() == 0 {
		return // may read everything
	}
	if err := os.Chmod(n.root+"/12/task", 0); err != nil {
		t.Fatal(err)
	}
	if got := New(n.root).Why(t.Context(), podA); got.Known {
		t.Errorf("%+v of a process that cannot be looked at", got)
	}
}

// However many processes and mounts there are, and whatever they are called, the text stays a line.
func TestTextIsBounded(t *testing.T) {
	n := newNode(t)
	long := strings.Repeat("x", 1000)
	for pid := 100; pid < 300; pid++ {
		var lines []string
		for i := range 20 {
			lines = append(lines, mountLine(fmt.Sprint("0:", 100+i), fmt.Sprint("/", i, long), "fuse"))
		}
		n.addContainer(pid, podA, 'D', "request_wait_answer", lines...)
		n.host = append(n.host, mountLine(fmt.Sprint("0:", pid), volumePath(podA)+"/"+long, "fuse."+long))
	}
	n.addHostMount("0:99", volumePath(podA), "tmpfs")
	r := New(n.root).Examine(t.Context(), podA)
	if text := r.String(); len(text) > 3000 || !strings.Contains(text, "and 197 more processes") || !strings.Contains(text, "17 more") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	r.Processes = nil
	if text := r.String(); len(text) > 3000 || !strings.Contains(text, "198 more") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}

func TestHostileNames(t *testing.T) {
	for _, tc := range []struct{ name, want string }{
		{"plain", "plain"}, {"a\nb\x1b[31m\x7f", "a?b?[31m?"}, {"\xff\xfe", "?"}, {strings.Repeat("é", 100), strings.Repeat("é", 100)}, {strings.Repeat("é", 101), strings.Repeat("é", 100) + "…"},
	} {
		if got := truncateName(tc.name); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.name, got, tc.want)
		}
	}
	p := Process{PID: 7, Comm: "a\nb", State: '\n'}
	if got := p.String(); got != "process 7 (a?b) is alive (state ?): nobody has killed it" {
		t.Error(got)
	}
}

func TestPaths(t *testing.T) {
	for _, tc := range []struct{ point, pod, volume string }{
		{volumePath(podA), podA, "data"},
		{"/var/lib/kubelet/pods/" + podA + "/volumes/kubernetes.io~nfs/share", podA, "share"},
		{"/var/lib/kubelet/pods/" + podA + "/volumes", podA, "volumes"},
		{"/data/pods/x/y" + volumePath(podB), podB, "data"},
		{volumePath(podA) + volumePath(podB), podB, "data"},
		{"/pods//volumes/kubernetes.io~nfs/share", "", "share"},
		{"/var/lib/kubelet/pods/" + podA + "/containers/app", "", "app"},
		{"/var/lib/kubelet/plugins/kubernetes.io/csi/driver/hash/globalmount", "", "globalmount"},
		{"/data", "", "data"}, {"", "", "."},
	} {
		if got := podOfPath(tc.point); got != tc.pod {
			t.Errorf("%q is of %q, want %q", tc.point, got, tc.pod)
		}
		if tc.pod == "" || strings.Count(tc.point, "/volumes/") > 1 {
			continue
		}
		if got := volumeOfPath(tc.point); got != tc.volume {
			t.Errorf("%q is the volume %q, want %q", tc.point, got, tc.volume)
		}
	}
}

// FuzzPaths: a pod's UID is one part of the path, behind "pods" and before its volumes.
func FuzzPaths(f *testing.F) {
	f.Add(volumePath(podA))
	f.Add("/pods/pods/volumes/pods/a/volumes")
	f.Fuzz(func(t *testing.T, point string) {
		uid := podOfPath(point)
		if uid != "" && (!strings.Contains(point, "/pods/"+uid+"/volume") || strings.Contains(uid, "/")) {
			t.Errorf("%q is of %q", point, uid)
		}
		if name := volumeOfPath(point); name == "" && point != "" && !strings.Contains(point, "//") && !strings.Contains(point, "/volumes/") {
			t.Errorf("%q is a volume without a name", point)
		}
		if text := truncateName(point); len(text) > maxName+len("…") || strings.ContainsAny(text, "\n\r\x1b") {
			t.Errorf("%q is shortened to %q", point, text)
		}
	})
}
