package lab_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/events"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// killsEnv is how many FUSE daemons TestDaemonsDeathIsAnnounced kills; their latencies are logged.
const killsEnv = "MOUNTWARDEN_LAB_KILLS"

// The death of one of many real daemons is announced to its own pod, with the connection gone already: a look that follows finds
// the mount dead.
func TestDaemonsDeathIsAnnounced(t *testing.T) {
	needRoot(t)
	kills := 3
	if text := os.Getenv(killsEnv); text != "" {
		var err error
		kills, err = strconv.Atoi(text)
		must(t, err)
	}
	w := events.New(events.Options{})
	t.Cleanup(w.Close)
	volumes, binds := make([]*faultfs.Server, kills), map[string]string{}
	for i := range volumes {
		volumes[i] = newVolume(t, faultfs.Options{})
		binds["/"+strconv.Itoa(i)] = volumes[i].Mountpoint()
	}
	c := newContainer(t, spec{Binds: binds})
	process, err := proc.Hold("/proc", c.cmd.Process.Pid)
	must(t, err)
	defer process.Release()
	for i := range volumes {
		pod := strconv.Itoa(i)
		w.Watch(pod, []events.WatchTarget{{Process: process, FileSystems: []events.FileSystem{mountedAt(t, process, "/"+pod)}}})
	}
	eventually(t, "the daemons are found", func() bool { return w.Stats().Daemons == kills })
	var latencies []time.Duration
	for i, s := range volumes {
		latencies = append(latencies, killOne(t, w, strconv.Itoa(i), s))
	}
	slices.Sort(latencies)
	t.Logf("%d kills: median %s, p99 %s, at most %s", kills, latencies[kills/2], latencies[kills*99/100], latencies[kills-1])
}

// killOne returns how long after the kill the event came.
func killOne(t *testing.T, w *events.Watcher, pod string, s *faultfs.Server) time.Duration {
	t.Helper()
	start := time.Now()
	go func() { _ = s.Kill() }() // waits for the end itself
	e := <-w.Events()
	for !isLinux(t, "6.16") && e.Trigger == probes.TriggerFUSEDaemon && (e.Pod != pod || isAlive(s)) { // whose daemon is not told: an earlier one's, too
		e = <-w.Events()
	}
	latency := time.Since(start)
	if e != (events.Event{Pod: pod, Trigger: probes.TriggerFUSEDaemon}) {
		t.Errorf("%+v", e)
	}
	if isAlive(s) {
		t.Error("the mount is alive")
	}
	return latency
}

func isAlive(s *faultfs.Server) bool {
	return exec.Command("stat", "--file-system", s.Mountpoint()).Run() == nil
}

// What the prober watches by itself is announced, and the look that follows finds the cause.
func TestEventAndLook(t *testing.T) {
	p := newProber(t, node.Options{Events: true})
	s := newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{Binds: map[string]string{"/data": s.Mountpoint(), "/other": t.TempDir()}})
	pod := podOf(c, "/data", "/other")
	expect(t, lookAt(t, p, pod, timeout), probes.Healthy, probes.CauseNone)
	c.do(t, "umount", "/other")
	expectEvent(t, p, probes.TriggerMountTable)
	seen := lookAll(t, p, pod, timeout)
	expect(t, seen[0], probes.Healthy, probes.CauseNone)
	expect(t, seen[1], probes.Broken, probes.CauseNotMounted)
	must(t, s.Kill())
	eventually(t, "disconnected", func() bool { // the daemon may not have been found yet when it was killed
		return lookAt(t, p, pod, timeout).Cause == probes.CauseDisconnected
	})
	if got := p.EventSources(); len(got) == 0 || !got[1].Available {
		t.Errorf("%+v", got)
	}
}

// What the kernel announces depends on its version, and on nothing else where one has all rights.
func TestSourcesOfThisKernel(t *testing.T) {
	p := newProber(t, node.Options{Events: true})
	since := map[string]string{events.SourceFanotify: "6.15", events.SourceMountinfo: "5.10", events.SourceFUSE: "5.10", events.SourceExt4: "5.14"}
	for _, s := range p.EventSources() {
		if want := isLinux(t, since[s.Name]); s.Available != want {
			t.Errorf("%+v, available should be %t", s, want)
		}
		delete(since, s.Name)
	}
	if len(since) > 0 {
		t.Errorf("no word of %v", since)
	}
}

func expectEvent(t *testing.T, p *node.Prober, trigger probes.Trigger) {
	t.Helper()
	select {
	case e := <-p.Events():
		if e != (events.Event{Pod: "uid", Trigger: trigger}) {
			t.Errorf("%+v, want %s", e, trigger)
		}
	case <-time.After(patience):
		t.Fatalf("no event, want %s", trigger)
	}
}

// Whatever is held of a container whose disk is looked at: with its end the disk can be unmounted and taken away at once.
func TestNothingPinsTheDiskOfADeadPod(t *testing.T) {
	p := newProber(t, node.Options{Events: true})
	image, folder := filepath.Join(t.TempDir(), "image"), t.TempDir()
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 16<<20))
	tool(t, "mkfs.ext4", "-q", image)
	loop := tool(t, "losetup", "--find", "--show", image)
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", loop).Run() }) // detached already
	must(t, syscall.Mount(loop, folder, "ext4", 0, ""))
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) }) // unmounted already
	c := newContainer(t, spec{Binds: map[string]string{"/data": folder}})
	pod := podOf(c, "/data")
	for range 3 {
		expect(t, lookAt(t, p, pod, timeout), probes.Healthy, probes.CauseNone)
	}
	must(t, os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(loop), "trigger_fs_error"), []byte("test"), 0o600))
	if isLinux(t, "5.14") { // which announces it
		expectEvent(t, p, probes.TriggerFileSystemError)
	}
	c.kill()
	must(t, syscall.Unmount(folder, 0))
	eventually(t, "the super block is gone", func() bool {
		_, err := os.Stat(filepath.Join("/sys/fs/ext4", filepath.Base(loop)))
		return errors.Is(err, os.ErrNotExist)
	})
	tool(t, "losetup", "--detach", loop)
	eventually(t, "the device is free", func() bool {
		return tool(t, "losetup", "--list", "--noheadings", "--associated", image) == ""
	})
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func mountedAt(t *testing.T, p *proc.Process, point string) events.FileSystem {
	t.Helper()
	f, err := p.Open("mountinfo")
	must(t, err)
	defer f.Close()
	table, err := mountinfo.Read(f, nil)
	must(t, err)
	m, ok := table.At(point)
	if !ok {
		t.Fatalf("nothing is mounted at %s", point)
	}
	return events.FileSystem{Device: m.Device, FSType: m.FSType}
}
