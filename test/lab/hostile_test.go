package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/rawfuse"
)

// inside runs f on a thread that is in the container's mount namespace and at its root.
func (c *container) inside(f func() error) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", c.cmd.Process.Pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			close(done) // /proc/PID is that of this thread, which has to stay where it is
			return
		}
		if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	err, ran := <-done
	if !ran {
		return c.inside(f)
	}
	return err
}

func newRawFUSE(t *testing.T, say rawfuse.Reaction) *rawfuse.Server {
	t.Helper()
	needRoot(t)
	s, err := rawfuse.Mount(t.TempDir(), say)
	must(t, err)
	t.Cleanup(func() { must(t, s.Unmount()) })
	return s
}

// deviceAt finds the mount at a path of this process in its mount table, without contact with the mount.
func deviceAt(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	must(t, err)
	table, err := mountinfo.Read(bytes.NewReader(text), nil)
	must(t, err)
	m, ok := table.At(path)
	if !ok {
		t.Fatalf("nothing is mounted at %s", path)
	}
	return m.Device.String()
}

// No mountPath leads out of the container: what lies there is not even asked.
func TestHostilePaths(t *testing.T) {
	p := newLooker(t, node.Options{})
	outside := newRawFUSE(t, rawfuse.Honest)
	device := deviceAt(t, outside.Dir())
	folder, err := os.Open(filepath.Dir(outside.Dir()))
	must(t, err)
	defer folder.Close()
	self := fmt.Sprintf("/proc/%d", os.Getpid())
	magic := []string{
		self + "/root" + outside.Dir(), self + "/cwd/" + up + outside.Dir(), fmt.Sprintf("%s/fd/%d/%s", self, folder.Fd(), filepath.Base(outside.Dir())),
		"/proc/1/root" + outside.Dir(), "/proc/self/root/" + up + outside.Dir(),
	}
	s := spec{
		Binds: map[string]string{"/proc": "/proc", "/data": t.TempDir()},
		Links: map[string]string{"/absolute": outside.Dir(), "/relative": up + outside.Dir(), "/chain": "/relative"},
	}
	paths := append([]string{"/absolute", "/relative", "/chain", "/data/" + up + outside.Dir(), "/" + up + outside.Dir(), outside.Dir()}, magic...)
	for i, to := range magic {
		link := fmt.Sprintf("/magic/%d", i)
		s.Links[link] = to
		paths = append(paths, link)
	}
	for i, o := range lookAll(t, p, podOf(newContainer(t, s), paths...), timeout) {
		if o.Health == probes.Healthy || o.Health == probes.Broken && o.Cause != probes.CauseNotMounted || o.Device == device {
			t.Errorf("%s: %+v", paths[i], o)
		}
	}
	if n := outside.Asked(); n != 0 {
		t.Errorf("the file system outside was asked %d times", n)
	}
}

// up leads to the root from anywhere.
var up = strings.Repeat("../", 30)

// Whoever mounts chooses the texts of mountinfo. They mislead no look, neither at his own pod nor at another.
func TestHostileFields(t *testing.T) {
	p := newLooker(t, node.Options{})
	good, bad := newRawFUSE(t, rawfuse.Honest), newRawFUSE(t, rawfuse.Honest)
	bad.Die()
	s := spec{Binds: map[string]string{"/good": good.Dir(), "/bad": bad.Dir()}}
	tenant, victim := newContainer(t, s), newContainer(t, s)
	line := fmt.Sprintf("9999 1 %s / /bad rw - fuse.raw raw rw", deviceAt(t, good.Dir()))
	sources := map[string]string{
		"/empty":                 "",
		"/a - b c":               " - fuse.raw raw rw",
		"/x\n" + line + "\n/bad": "x\n" + line,
		`/\040\134\012`:          `\012` + line,
		"/\xff\x1b[31m":          "\x00\xff\x1b[31m",
		"/pods/uid/volumes/kubernetes.io~csi/x/mount": "/var/lib/kubelet/pods/uid/volumes/kubernetes.io~csi/x/mount",
	}
	paths := []string{"/good", "/bad", "/forged"}
	must(t, tenant.inside(func() error {
		const volume = "/pods/uid/volumes/kubernetes.io~csi/x/mount"
		for path, source := range sources {
			if err := errors.Join(os.MkdirAll(path, 0o755), mountTmpfs(source, path)); err != nil {
				return fmt.Errorf("%q: %w", path, err)
			}
		}
		// The root field of a bind mount of this folder reads like somebody's volume.
		forged := volume + volume
		return errors.Join(os.MkdirAll(forged, 0o755), bindAt(forged, "/forged"))
	}))
	for path := range sources {
		paths = append(paths, path)
	}
	for i, o := range lookAll(t, p, podOf(tenant, paths...), timeout) {
		switch paths[i] {
		case "/bad":
			expect(t, o, probes.Broken, probes.CauseDisconnected)
		case "/forged": // his own pod's, and his own doing
		default:
			expect(t, o, probes.Healthy, probes.CauseNone)
			if want, known := sources[paths[i]]; known && o.Source != strings.SplitN(want, "\x00", 2)[0] {
				t.Errorf("%q: source %q, want %q", paths[i], o.Source, want)
			}
		}
	}
	seen := lookAll(t, p, podOf(victim, "/good", "/bad"), timeout)
	expect(t, seen[0], probes.Healthy, probes.CauseNone)
	expect(t, seen[1], probes.Broken, probes.CauseDisconnected)
}

func mountTmpfs(source, path string) error {
	source, _, _ = strings.Cut(source, "\x00") // the kernel sees no more
	return syscall.Mount(source, path, "tmpfs", 0, "size=4k")
}

// A FUSE may say anything. Of what proves nothing nothing is made.
func TestHostileAnswers(t *testing.T) {
	p := newLooker(t, node.Options{})
	honest := rawfuse.Reaction(rawfuse.Honest)
	all := bytes.Repeat([]byte{0xff}, 80)
	binds := map[string]string{}
	rows := []struct {
		name    string
		say     rawfuse.Reaction
		healthy bool // or Unknown
		warning probes.Warning
	}{
		{name: "honest", say: honest, healthy: true},
		{name: "statfs of zeros", say: honest.To(rawfuse.Statfs, make([]byte, 80), 0)},
		{name: "statfs of ones", say: honest.To(rawfuse.Statfs, all, 0), healthy: true},
		{name: "more free than there is", say: honest.To(rawfuse.Statfs, rawfuse.StatfsBody(1, 1<<63, 1<<63), 0), healthy: true},
		{name: "full", say: honest.To(rawfuse.Statfs, rawfuse.StatfsBody(1000, 0, 0), 0), healthy: true, warning: probes.WarningNoSpace},
		{name: "no link", say: honest.To(rawfuse.Getattr, rawfuse.AttrBody(rawfuse.Folder, 0), 0), healthy: true},
		{name: "statx of zeros as well", say: honest.To(rawfuse.Statx, make([]byte, 288), 0), healthy: true},
		{name: "ENOSYS", say: honest.To(rawfuse.Statfs, nil, syscall.ENOSYS)},
		{name: "ENOENT", say: honest.To(rawfuse.Getattr, nil, syscall.ENOENT)},
		{name: "EINTR", say: honest.To(rawfuse.Statfs, nil, syscall.EINTR)},
		{name: "EAGAIN", say: honest.To(rawfuse.Getattr, nil, syscall.EAGAIN)},
		{name: "an error that nobody knows", say: honest.To(rawfuse.Statfs, nil, 511)},
		{name: "EACCES", say: honest.To(rawfuse.Statfs, nil, syscall.EACCES)},
	}
	var paths []string
	for i, row := range rows {
		path := fmt.Sprintf("/data/%02d", i)
		binds[path] = newRawFUSE(t, row.say).Dir()
		paths = append(paths, path)
	}
	for i, o := range lookAll(t, p, podOf(newContainer(t, spec{Binds: binds}), paths...), hangTimeout) {
		if row := rows[i]; o.Health == probes.Broken || row.healthy != (o.Health == probes.Healthy) || o.Warning != row.warning {
			t.Errorf("%s: %+v", row.name, o)
		}
	}
}

// A daemon that ends before it has answered the kernel's first request is as dead as any other. While it lives and has refused that request,
// all others get ECONNREFUSED; newer kernels go on to say so for ever, of one that has not answered it as well.
func TestFUSEThatNeverBegan(t *testing.T) {
	needRoot(t)
	p := newLooker(t, node.Options{})
	mount := func(say rawfuse.Reaction) *rawfuse.Server {
		s, err := rawfuse.MountUnknown(t.TempDir(), say)
		must(t, err)
		t.Cleanup(func() { must(t, s.Unmount()) })
		return s
	}
	silent, refusing := mount(rawfuse.Silent), mount(rawfuse.Reaction(rawfuse.Honest).To(rawfuse.Init, nil, syscall.EPROTO))
	pod := podOf(newContainer(t, spec{Binds: map[string]string{"/silent": silent.Dir(), "/refusing": refusing.Dir()}}), "/silent", "/refusing")
	seen := lookAll(t, p, pod, hangTimeout)
	expect(t, seen[0], probes.Broken, probes.CauseHung)
	expect(t, seen[1], probes.Broken, probes.CauseIOError)
	if seen[1].Errno != syscall.ECONNREFUSED {
		t.Errorf("refused with %+v", seen[1])
	}
	silent.Die()
	refusing.Die()
	causes := map[syscall.Errno]probes.Cause{syscall.ENOTCONN: probes.CauseDisconnected, syscall.ECONNREFUSED: probes.CauseIOError}
	t.Cleanup(func() { t.Logf("last seen: %+v", seen) })
	eventually(t, "both are broken", func() bool { // the look that waited has to end first
		seen = lookAll(t, p, pod, timeout)
		return !slices.ContainsFunc(seen, func(o probes.Observation) bool { return o.Cause == probes.CauseNone || o.Cause != causes[o.Errno] })
	})
	if !isLinux(t, "6.19") && (seen[0].Errno != syscall.ENOTCONN || seen[1].Errno != syscall.ENOTCONN) {
		t.Error("Linux tells a daemon that is gone from one that has refused")
	}
}

// A tenant blocks every operation on a FUSE, on the way to a mount as well: his looks end in time, and others do not wait.
func TestHostileWay(t *testing.T) {
	p := newLooker(t, node.Options{})
	blocked, good := newRawFUSE(t, rawfuse.Silent), newRawFUSE(t, rawfuse.Honest)
	tenant := newContainer(t, spec{Binds: map[string]string{"/data": blocked.Dir()}, Links: map[string]string{"/link": "/data/sub"}})
	other := newContainer(t, spec{Binds: map[string]string{"/data": good.Dir()}})
	began := time.Now()
	for _, o := range lookAll(t, p, podOf(tenant, "/data", "/data/sub", "/data/sub/"+up+"etc", "/link", "/link/x"), hangTimeout) {
		if o.Health == probes.Healthy || o.Health == probes.Broken && o.Cause != probes.CauseHung && o.Cause != probes.CauseNotMounted {
			t.Errorf("%+v", o)
		}
	}
	if took := time.Since(began); took > 5*hangTimeout {
		t.Errorf("looks with a timeout of %s took %s", hangTimeout, took)
	}
	expect(t, lookAt(t, p, podOf(other, "/data"), timeout), probes.Healthy, probes.CauseNone)
}

// A tenant mounts until his table is too large to be read: nothing is known of his mounts, least of all that they are
// missing, and the others do not wait for it.
func TestHostileTableSize(t *testing.T) {
	const mounts = 50_000
	p := newLooker(t, node.Options{})
	dead := newRawFUSE(t, rawfuse.Honest)
	dead.Die()
	s := spec{Binds: map[string]string{"/data": dead.Dir()}}
	tenant, other := newContainer(t, s), newContainer(t, s)
	began := time.Now()
	must(t, tenant.inside(func() error { return mountMany(mounts) }))
	t.Logf("%d mounts made in %s", mounts, time.Since(began))
	for range 2 {
		began = time.Now()
		seen := lookAll(t, p, podOf(tenant, "/data", "/none"), timeout)
		large := time.Since(began)
		expect(t, seen[0], probes.Unknown, probes.CauseNone)
		expect(t, seen[1], probes.Unknown, probes.CauseNone)
		if !strings.Contains(seen[0].Detail, mountinfo.ErrTooLarge.Error()) {
			t.Errorf("it is not said why: %+v", seen[0])
		}
		began = time.Now()
		expect(t, lookAt(t, p, podOf(other, "/data"), timeout), probes.Broken, probes.CauseDisconnected)
		t.Logf("large table %s, the other pod %s", large, time.Since(began))
		if large > hangTimeout || time.Since(began) > hangTimeout {
			t.Errorf("looks took %s and %s", large, time.Since(began))
		}
	}
}

// mountMany makes n mounts and a few more: a folder with some, and copies of it.
func mountMany(n int) error {
	const some = 500
	for i := range some {
		if err := bindAt("/old", fmt.Sprintf("/many/%d", i)); err != nil {
			return err
		}
	}
	for i := range n / some {
		path := fmt.Sprintf("/copies/%d", i)
		if err := errors.Join(os.MkdirAll(path, 0o755), syscall.Mount("/", path, "", syscall.MS_BIND, ""),
			syscall.Mount("/many", path+"/many", "", syscall.MS_BIND|syscall.MS_REC, "")); err != nil {
			return err
		}
	}
	return nil
}

func bindAt(source, path string) error {
	return errors.Join(os.MkdirAll(path, 0o755), syscall.Mount(source, path, "", syscall.MS_BIND, ""))
}

// The process id of a dead container goes to a stranger: nothing of the stranger is looked at.
func TestHostilePIDReuse(t *testing.T) {
	p := newLooker(t, node.Options{})
	mine, his := newRawFUSE(t, rawfuse.Honest), newRawFUSE(t, rawfuse.Honest)
	var pod probes.Pod
	var stranger *container
	for tries := 0; stranger == nil && tries < 5; tries++ { // somebody else may have got it for good
		c := newContainer(t, spec{Binds: map[string]string{"/data": mine.Dir()}})
		pod = podOf(c, "/data")
		expect(t, lookAt(t, p, pod, timeout), probes.Healthy, probes.CauseNone)
		c.kill()
		stranger = reuse(t, c.cmd.Process.Pid, spec{Binds: map[string]string{"/data": his.Dir()}})
	}
	if stranger == nil {
		t.Fatal("nobody got the process id of a container that has ended")
	}
	for range 3 {
		expect(t, p.Probe(t.Context(), pod, timeout)[0], probes.Unknown, probes.CauseNone)
	}
	if n := his.Asked(); n != 0 {
		t.Errorf("the stranger's file system was asked %d times", n)
	}
	expect(t, lookAt(t, p, podOf(stranger, "/data"), timeout), probes.Healthy, probes.CauseNone)
}

// reuse starts containers until one has the process id pid, nil after some. Others on this machine may take it first.
func reuse(t *testing.T, pid int, s spec) *container {
	t.Helper()
	const last = "/proc/sys/kernel/ns_last_pid"
	for range 20 {
		if err := os.WriteFile(last, []byte(strconv.Itoa(pid-1)), 0o600); err != nil {
			t.Skipf("process ids cannot be chosen: %v", err)
		}
		c := newContainer(t, s)
		if c.cmd.Process.Pid == pid {
			return c
		}
		c.kill()
	}
	return nil
}

// A tenant hangs two hundred mounts in the most stubborn way. What another tenant's pods have lost is found all the same.
func TestHostileHungMounts(t *testing.T) {
	const hung, perPod = 200, 25
	p := newLooker(t, node.Options{MaxParked: 32})
	dead, good := newRawFUSE(t, rawfuse.Honest), newRawFUSE(t, rawfuse.Honest)
	victim := podOf(newContainer(t, spec{Binds: map[string]string{"/dead": dead.Dir(), "/good": good.Dir()}}), "/dead", "/good")
	var tenants []probes.Pod
	for range hung / perPod {
		binds := map[string]string{}
		var paths []string
		for i := range perPod {
			path := fmt.Sprintf("/data/%02d", i)
			binds[path], paths = newRawFUSE(t, rawfuse.Silent).Dir(), append(paths, path)
		}
		tenants = append(tenants, podOf(newContainer(t, spec{Binds: binds}), paths...))
	}
	for _, o := range lookAll(t, p, victim, timeout) {
		expect(t, o, probes.Healthy, probes.CauseNone)
	}

	// The tenants' pods are looked at again and again, as the agent does.
	ctx, cancel := context.WithCancel(t.Context())
	var looks sync.WaitGroup
	for _, pod := range tenants {
		looks.Go(func() {
			for ctx.Err() == nil {
				p.Probe(ctx, pod, hangTimeout)
			}
		})
	}
	defer looks.Wait()
	defer cancel()
	eventually(t, "no more can be parked", func() bool { s := p.Stats(); return s.Parked == s.MaxParked })
	for range 5 {
		began := time.Now()
		for _, o := range p.Probe(t.Context(), victim, timeout) {
			expect(t, o, probes.Healthy, probes.CauseNone)
		}
		if took := time.Since(began); t.Failed() || took > 2*hangTimeout {
			t.Fatalf("the other tenant waited %s: %+v", took, p.Stats())
		}
	}
	dead.Die()
	began := time.Now()
	seen := p.Probe(t.Context(), victim, timeout)
	took := time.Since(began)
	expect(t, seen[0], probes.Broken, probes.CauseDisconnected)
	expect(t, seen[1], probes.Healthy, probes.CauseNone)
	stats := p.Stats()
	t.Logf("dead mount of the other tenant after %s: %+v", took, stats)
	if stats.Workers > hung/2 {
		t.Errorf("%d workers for %d hung mounts: %+v", stats.Workers, hung, stats)
	}
	if took > 2*hangTimeout {
		t.Errorf("the other tenant waited %s", took)
	}
}

// A tenant mounts and unmounts as fast as he can: his looks come at a bounded rate, and the others' as soon as ever.
func TestHostileStorm(t *testing.T) {
	p := newProber(t, node.Options{Events: true})
	volume := newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{})
	tenant, other := podOf(c, "/"), podOf(newContainer(t, spec{Binds: map[string]string{"/data": volume.Mountpoint()}}), "/data")
	tenant.UID, other.UID = "tenant", "other"
	lookAt(t, p, tenant, timeout)
	expect(t, lookAt(t, p, other, timeout), probes.Healthy, probes.CauseNone)

	quit, storm := make(chan struct{}), make(chan error, 1)
	go func() { storm <- c.inside(func() error { return storming(quit) }) }()
	counts, first := map[string]int{}, map[string]time.Time{}
	began := time.Now()
	kill, end := time.After(hangTimeout), time.After(2*hangTimeout)
	var killed time.Time
	for over := false; !over; {
		select {
		case e := <-p.Events():
			counts[e.Pod]++
			if counts[e.Pod] == 1 {
				first[e.Pod] = time.Now()
			}
			if e.Pod == tenant.UID {
				p.Probe(t.Context(), tenant, timeout)
			}
		case <-kill:
			killed = time.Now()
			must(t, volume.Kill())
		case <-end:
			over = true
		}
	}
	close(quit)
	must(t, <-storm)
	lasted := time.Since(began)
	if n := counts[tenant.UID]; n == 0 || n > int(lasted/(200*time.Millisecond)) {
		t.Errorf("%d looks in %s", n, lasted)
	}
	if counts[other.UID] == 0 {
		t.Fatalf("the storm hid the other's event: %v", counts)
	}
	t.Logf("storm: %d looks in %s, the other's after %s", counts[tenant.UID], lasted, first[other.UID].Sub(killed))
	if after := first[other.UID].Sub(killed); after < 0 || after > hangTimeout {
		t.Errorf("the other's event came %s after the daemon's death", after)
	}
}

// storming mounts and unmounts until quit.
func storming(quit <-chan struct{}) error {
	for {
		select {
		case <-quit:
			return nil
		default:
		}
		if err := errors.Join(bindAt("/old", "/storm"), syscall.Unmount("/storm", syscall.MNT_DETACH)); err != nil {
			return err
		}
	}
}

// A tenant whose mounts reach the host's table names them like the volume of another tenant's pod. A healthy pod stays healthy,
// whatever the host's mounts of that name are.
func TestHostileHostPaths(t *testing.T) {
	const below = "pods/victim/volumes/kubernetes.io~csi/x/mount"
	p := newLooker(t, node.Options{HostPID: os.Getpid()})
	genuine, forged := filepath.Join(t.TempDir(), below), filepath.Join(t.TempDir(), below)
	must(t, errors.Join(os.MkdirAll(genuine, 0o755), os.MkdirAll(forged, 0o755)))
	volume := newVolume(t, faultfs.Options{Mountpoint: genuine})
	pod := podOf(newContainer(t, spec{Binds: map[string]string{"/data": genuine}}), "/data")
	pod.UID = "victim"
	pod.Containers[0].Mounts[0].Host = probes.HostVolume{Folder: "kubernetes.io~csi/x/mount"}
	expect(t, lookAt(t, p, pod, timeout), probes.Healthy, probes.CauseNone)

	forger, err := rawfuse.Mount(forged, rawfuse.Honest)
	must(t, err)
	t.Cleanup(func() { must(t, forger.Unmount()) })
	expect(t, lookAt(t, p, pod, timeout), probes.Healthy, probes.CauseNone)
	forger.Die()
	expect(t, lookAt(t, p, pod, timeout), probes.Healthy, probes.CauseNone)
	must(t, volume.Kill())
	expect(t, lookAt(t, p, pod, timeout), probes.Broken, probes.CauseDisconnected)
}

// A process that execve keeps, closing a file on a FUSE that does not answer, keeps whoever reads one of the wrong files of its /proc
// waiting with it (see proc.Tasks). It keeps nobody here: not its own pod's look, which proves nothing against the pod's healthy mount,
// nor another pod's, nor the events.
func TestHostileExec(t *testing.T) {
	bad, good, others := newVolume(t, faultfs.Options{}), newVolume(t, faultfs.Options{}), newVolume(t, faultfs.Options{})
	tenant := newContainer(t, spec{Mounts: []bind{
		{Source: bad.Mountpoint(), Path: "/bad", Propagation: syscall.MS_PRIVATE},
		{Source: good.Mountpoint(), Path: "/good", Propagation: syscall.MS_PRIVATE},
		{Source: ownWorker(t), Path: staticProgram, Propagation: syscall.MS_PRIVATE, File: true},
	}})
	t.Cleanup(func() { must(t, bad.Clear()) }) // before the container is waited for
	tenant.do(t, "exec", "/bad/"+faultfs.DefaultCanary)
	must(t, bad.Hang(faultfs.Other))
	_, err := fmt.Fprintln(tenant.stdin, "go")
	must(t, err)
	eventually(t, "it waits within execve", func() bool {
		tasks, err := proc.Tasks("/proc", tenant.cmd.Process.Pid)
		must(t, err)
		return len(tasks) == 1 && (tasks[0].Execs && tasks[0].State != 'R' || waitsForFUSE(t, tenant.cmd.Process.Pid))
	})

	p := newProber(t, node.Options{Events: true})
	mine := podOf(tenant, "/bad", "/good")
	mine.UID = "tenant"
	for _, o := range lookAll(t, p, mine, hangTimeout) {
		if o.Health == probes.Broken {
			t.Errorf("a process that starts a program is no broken mount: %+v", o)
		}
	}
	other := podOf(newContainer(t, spec{Binds: map[string]string{"/data": others.Mountpoint()}}), "/data")
	held := pidfds(t, others.Pid())
	expect(t, lookAt(t, p, other, timeout), probes.Healthy, probes.CauseNone)
	tells := isLinux(t, "6.16") // which connection a daemon has; to find that out of older kernels waits for the process
	if tells {
		eventually(t, "the other pod's daemon is found", func() bool { return pidfds(t, others.Pid()) > held })
	}
	must(t, others.Kill())
	if tells {
		expectEvent(t, p, probes.TriggerFUSEDaemon)
	}
	expect(t, lookAt(t, p, other, timeout), probes.Broken, probes.CauseDisconnected)
	if s := p.Stats(); s.Workers > 4 {
		t.Errorf("%+v workers", s)
	}
}

// waitsForFUSE asks where a process waits, with a process of its own: on some kernels that waits for one that execve keeps.
func waitsForFUSE(t *testing.T, pid int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	where, err := exec.CommandContext(ctx, "cat", fmt.Sprintf("/proc/%d/wchan", pid)).Output()
	return err == nil && string(where) == "request_wait_answer"
}

// pidfds counts those of the process that this one holds (pidfd_open(2) tells of the line in fdinfo).
func pidfds(t *testing.T, pid int) (n int) {
	t.Helper()
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	must(t, err)
	for _, info := range infos {
		if text, err := os.ReadFile(info); err == nil && strings.Contains(string(text), fmt.Sprintf("\nPid:\t%d\n", pid)) {
			n++
		}
	}
	return n
}
