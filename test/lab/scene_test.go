package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// scene is the stage of one scenario: a node with one pod on it, and what the agent believes of the pod. The node is this
// very process, with folders of a kubelet on a file system of their own whose mounts are shared, as systemd makes all of
// a node's.
type scene struct {
	t       *testing.T
	prober  prober
	timeout time.Duration // of a look
	root    string        // of the node's files

	pod       probes.Pod
	volumes   []volume
	spec      spec
	container *container // nil: no process runs

	clock   clock
	rules   verdict.Rules
	state   verdict.State
	verdict verdict.Verdict
	seen    []probes.Observation
	history []string         // every look, for who has to find out why it went wrong
	failure *verdict.Failure // the first that the pod would be removed for

	after   func() // what is left to prove when the pod has been judged
	skipped string // why this kernel cannot do it
}

func newScene(t *testing.T, prober prober) *scene {
	t.Helper()
	s := &scene{t: t, prober: prober, timeout: timeout, root: t.TempDir(), rules: defaultRules()}
	must(t, syscall.Mount("node", s.root, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, syscall.Unmount(s.root, syscall.MNT_DETACH)) })
	must(t, syscall.Mount("", s.root, "", syscall.MS_SHARED, ""))
	s.pod = probes.Pod{UID: newID(t)[:32], Namespace: "lab", Name: "pod"}
	s.tmpfs(s.kubelet("kubernetes.io~projected/kube-api-access"), "") // which every pod has
	return s
}

// defaultRules are those of a pod that asks for nothing but to be watched.
func defaultRules() verdict.Rules {
	d := config.Default().Defaults
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	return verdict.Rules{
		FailureThreshold: d.FailureThreshold,
		Hang:             seconds(d.HangSeconds),
		Settle:           seconds(d.SettleSeconds),
		Period:           seconds(d.PeriodSeconds),
	}
}

func (s *scene) must(err error) {
	s.t.Helper()
	must(s.t, err)
}

// skip ends the scenario when this kernel cannot do it.
func (s *scene) skip(why string) {
	s.t.Helper()
	s.skipped = why
	s.t.Skip(why)
}

// volume is a volume of the pod: where the host has it, and how the container gets it.
type volume struct {
	source      string // on the host
	at          string // mount point in the container; mount.Path when empty
	propagation uintptr
	file        bool // it is no folder
	mount       probes.Mount
}

func (s *scene) kubelet(folder string) string {
	return s.dir(filepath.Join("var/lib/kubelet/pods", s.pod.UID, "volumes", folder))
}

// dir makes a folder of the node.
func (s *scene) dir(path string) string {
	s.t.Helper()
	path = filepath.Join(s.root, path)
	s.must(os.MkdirAll(path, 0o755))
	return path
}

// csi is an inline volume of a CSI driver, at /data.
func (s *scene) csi() volume {
	const folder = "kubernetes.io~csi/data/mount"
	return volume{source: s.kubelet(folder), propagation: syscall.MS_PRIVATE,
		mount: probes.Mount{Volume: "data", Path: "/data", Host: probes.HostVolume{Folder: folder}}}
}

// claim is a volume of a CSI driver whose name the pod does not tell, at /data.
func (s *scene) claim() volume {
	return volume{source: s.kubelet("kubernetes.io~csi/pvc-" + newID(s.t)[:8] + "/mount"), propagation: syscall.MS_PRIVATE,
		mount: probes.Mount{Volume: "data", Path: "/data", Host: probes.HostVolume{Claim: true}}}
}

// hostPath is a folder of the node, at /data, where the container sees what is mounted below it later.
func (s *scene) hostPath() volume {
	source := s.dir("srv/data")
	return volume{source: source, propagation: syscall.MS_SLAVE,
		mount: probes.Mount{Volume: "data", Path: "/data", Host: probes.HostVolume{Path: source}}}
}

// emptyDir is a folder of the kubelet, at /data, where the container sees what is mounted below it later.
func (s *scene) emptyDir() volume {
	const folder = "kubernetes.io~empty-dir/data"
	return volume{source: s.kubelet(folder), propagation: syscall.MS_SLAVE,
		mount: probes.Mount{Volume: "data", Path: "/data", BelowOnly: true, Host: probes.HostVolume{Folder: folder}}}
}

// fuse mounts one on the host.
func (s *scene) fuse(mountpoint string, opts faultfs.Options) *faultfs.Server {
	s.t.Helper()
	opts.Mountpoint = mountpoint
	return newVolume(s.t, opts)
}

// tmpfs mounts one on the host.
func (s *scene) tmpfs(mountpoint, options string) {
	s.t.Helper()
	s.must(syscall.Mount("disk", mountpoint, "tmpfs", 0, options))
}

// start runs the pod's container with the volumes.
func (s *scene) start(volumes ...volume) {
	s.t.Helper()
	s.volumes = volumes
	s.restart()
}

// restart runs the container anew, with the volumes as the host has them now.
func (s *scene) restart() {
	s.t.Helper()
	if s.container != nil {
		s.container.kill()
	}
	sp, mounts := s.spec, []probes.Mount{}
	for _, v := range s.volumes {
		at := v.mount.Path
		if v.at != "" {
			at = v.at
		}
		sp.Mounts = append(sp.Mounts, bind{v.source, at, v.propagation, v.mount.ReadOnly, v.file})
		mounts = append(mounts, v.mount)
	}
	s.container = newContainer(s.t, sp)
	s.pod.Containers = []probes.Container{{Name: "app", ID: s.container.id, Mounts: mounts}}
	s.find()
}

// find waits until the prober knows of the container: it may be newer than the last scan of /proc.
func (s *scene) find() {
	s.t.Helper()
	root := podOf(s.container, "/")
	eventually(s.t, "container found", func() bool {
		seen := s.prober.Probe(s.t.Context(), root, s.timeout)
		return !strings.Contains(seen[0].Detail, proc.ErrNotFound.Error())
	})
}

// do lets the container's process act.
func (s *scene) do(words ...string) {
	s.t.Helper()
	s.container.do(s.t, words...)
}

// look takes one look at the pod and lets it be judged.
func (s *scene) look() {
	s.t.Helper()
	s.seen = s.prober.Probe(s.t.Context(), s.pod, s.timeout)
	for i := range s.seen {
		o := &s.seen[i]
		o.Started, o.Finished = s.clock.of(o.Started), s.clock.of(o.Finished)
	}
	s.state, s.verdict = verdict.Step(s.state, s.seen, s.rules, s.clock.now())
	s.history = append(s.history, fmt.Sprintf("%s: %+v", s.clock.now().Format(time.TimeOnly), s.seen))
	if reason, ok := s.verdict.Decision.Reason(); ok && s.failure == nil {
		s.failure = &reason
	}
}

// good takes two looks in a row, which must find every one of n mounts in order.
func (s *scene) good(n int) {
	s.t.Helper()
	for range 2 {
		s.look()
		if len(s.seen) != n {
			s.t.Fatalf("%d observations, want %d: %+v", len(s.seen), n, s.seen)
		}
		for _, o := range s.seen {
			if m := s.state[o.Target]; m.Phase != verdict.Healthy || m.Unseen > 0 || o.Warning != probes.WarningNone {
				s.t.Fatalf("not in order before anything happened: %+v", o)
			}
		}
		s.clock.skip(s.verdict.Next)
	}
}

// clock is the machine's with leaps: to wait for the next look costs nothing.
type clock struct{ leaps []leap }

// leap says by how much the clock is ahead of the machine's, and since when.
type leap struct {
	from  time.Time
	ahead time.Duration
}

func (c *clock) now() time.Time { return c.of(time.Now()) }

// of tells what the clock showed at a time of the machine's.
func (c *clock) of(t time.Time) time.Time {
	for _, l := range slices.Backward(c.leaps) {
		if !t.Before(l.from) {
			return t.Add(l.ahead)
		}
	}
	return t
}

func (c *clock) skip(d time.Duration) {
	now := time.Now()
	c.leaps = append(c.leaps, leap{now, c.of(now).Sub(now) + d})
}

func TestClock(t *testing.T) {
	var c clock
	before := time.Now()
	c.skip(time.Hour)
	between := time.Now()
	c.skip(time.Minute)
	after := time.Now()
	for _, row := range []struct {
		at    time.Time
		ahead time.Duration
	}{{before, 0}, {between, time.Hour}, {after, time.Hour + time.Minute}} {
		if got := c.of(row.at).Sub(row.at); got != row.ahead {
			t.Errorf("ahead by %s, want %s", got, row.ahead)
		}
	}
}
