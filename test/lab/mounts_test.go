package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

func TestPathThatDoesNotExist(t *testing.T) {
	p := newLooker(t, node.Options{})
	c := newContainer(t, spec{})
	expect(t, lookAt(t, p, podOf(c, "/data/none"), timeout), probes.Broken, probes.CauseNotMounted)
}

// The container was started when the CSI driver had not mounted yet: it is bound to the kubelet's folder.
func TestBoundBeforeItWasMounted(t *testing.T) {
	p := newLooker(t, node.Options{})
	folder := filepath.Join(t.TempDir(), "pods/0a1b/volumes/kubernetes.io~csi/pv-1/mount")
	must(t, os.MkdirAll(filepath.Join(folder, "sub"), 0o755))
	c := newContainer(t, spec{Binds: map[string]string{"/data": folder, "/sub": folder + "/sub"}})
	newVolume(t, faultfs.Options{Mountpoint: folder}) // too late
	pod := podOf(c, "/data", "/sub")
	for _, o := range lookAll(t, p, pod, timeout) {
		expect(t, o, probes.Broken, probes.CauseNotMounted)
	}
	fresh := newContainer(t, spec{Binds: map[string]string{"/data": folder}})
	expect(t, lookAt(t, p, podOf(fresh, "/data"), timeout), probes.Healthy, probes.CauseNone)
}

func TestSymlinkedMountPath(t *testing.T) {
	p := newLooker(t, node.Options{})
	s := newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{
		Binds: map[string]string{"/run/app": s.Mountpoint()},
		Links: map[string]string{"/var/run": "/run", "/loop": "/loop"},
	})
	pod := podOf(c, "/var/run/app")
	expect(t, lookAt(t, p, pod, timeout), probes.Healthy, probes.CauseNone)
	expect(t, lookAt(t, p, podOf(c, "/loop"), timeout), probes.Unknown, probes.CauseNone)

	must(t, s.Stop())
	o := lookAt(t, p, pod, hangTimeout)
	expect(t, o, probes.Broken, probes.CauseHung)
	if o.Device == "" || o.FSType != faultfs.FSType {
		t.Errorf("the mount behind the symlink is not told: %+v", o)
	}
	must(t, s.Kill())
	eventually(t, "disconnected", func() bool {
		return lookAt(t, p, pod, timeout).Cause == probes.CauseDisconnected
	})
	c.do(t, "umount", "/run/app")
	expect(t, lookAt(t, p, pod, timeout), probes.Broken, probes.CauseNotMounted)
}

// An absolute symlink of the image leads to a healthy mount in the agent's root, and to nothing in the
// container's: the container's answer counts.
func TestAbsoluteSymlinkStaysInTheContainer(t *testing.T) {
	p := newProber(t, node.Options{})
	s := newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{Links: map[string]string{"/data": s.Mountpoint(), "/up": "../../../../" + s.Mountpoint()}})
	for _, o := range lookAll(t, p, podOf(c, "/data", "/up"), timeout) {
		expect(t, o, probes.Broken, probes.CauseNotMounted)
	}
	expect(t, p.ProbeSelf(t.Context(), selfAt(s.Mountpoint()), timeout)[0], probes.Healthy, probes.CauseNone)
}

func TestFoldersThatDenySearch(t *testing.T) {
	p := newLooker(t, node.Options{})
	source := t.TempDir()
	must(t, syscall.Mount("none", source, "tmpfs", 0, "mode=000"))
	t.Cleanup(func() { must(t, syscall.Unmount(source, syscall.MNT_DETACH)) })
	c := newContainer(t, spec{
		Modes: map[string]uint32{"/closed": 0},
		Binds: map[string]string{"/data": source, "/closed/data": source},
	})
	for _, o := range lookAll(t, p, podOf(c, "/data", "/closed/data"), timeout) {
		expect(t, o, probes.Healthy, probes.CauseNone)
	}
}

// The mount on top is looked at; one that a later mount higher up covers is not there any more.
func TestCoveredMounts(t *testing.T) {
	p := newLooker(t, node.Options{})
	s := newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{Binds: map[string]string{"/mnt/a": s.Mountpoint(), "/b": s.Mountpoint()}})
	must(t, s.Kill())
	c.do(t, "tmpfs", "/mnt")
	c.do(t, "umount", "/b")
	c.do(t, "tmpfs", "/b")
	seen := lookAll(t, p, podOf(c, "/mnt/a", "/b"), timeout)
	expect(t, seen[0], probes.Broken, probes.CauseNotMounted)
	expect(t, seen[1], probes.Healthy, probes.CauseNone)
	if seen[1].FSType != "tmpfs" {
		t.Errorf("looked below the mount on top: %+v", seen[1])
	}
}

func TestContainerIsGone(t *testing.T) {
	p := newLooker(t, node.Options{})
	s := newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{Binds: map[string]string{"/data": s.Mountpoint()}})
	pod := podOf(c, "/data")
	expect(t, lookAt(t, p, pod, timeout), probes.Healthy, probes.CauseNone)
	c.kill()
	o := p.Probe(t.Context(), pod, timeout)[0]
	expect(t, o, probes.Unknown, probes.CauseNone)
	if !strings.Contains(o.Detail, c.id) {
		t.Errorf("the container is not named: %+v", o)
	}
	pod.Containers[0].ID = "not-an-id"
	expect(t, p.Probe(t.Context(), pod, timeout)[0], probes.Unknown, probes.CauseNone)
}
