package csidriver_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

const notConnected = "transport endpoint is not connected"

func canaryOf(r *csi.NodePublishVolumeRequest) string {
	return filepath.Join(r.GetTargetPath(), faultfs.DefaultCanary)
}

func wantCanary(t *testing.T, r *csi.NodePublishVolumeRequest) {
	t.Helper()
	if got, want := cat(t, canaryOf(r)), r.GetVolumeContext()["content"]; got != want {
		t.Errorf("canary of %s: got %q, want %q", r.GetVolumeId(), got, want)
	}
}

func wantDead(t *testing.T, r *csi.NodePublishVolumeRequest) {
	t.Helper()
	if got := cat(t, canaryOf(r)); !strings.Contains(got, notConnected) {
		t.Fatalf("canary of %s: got %q, want %q", r.GetVolumeId(), got, notConnected)
	}
}

// wantGone checks that neither mount, directory nor record is left.
func wantGone(t *testing.T, d *driver, path string) {
	t.Helper()
	if mountsAt(t, path) != 0 {
		t.Errorf("%s is still mounted", path)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: got %v, want that it is gone", path, err)
	}
	records, err := os.ReadDir(d.config.StateDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, r := range records {
		text, err := os.ReadFile(filepath.Join(d.config.StateDir, r.Name(), "volume.json"))
		if err != nil || strings.Contains(string(text), path) {
			t.Errorf("record %s of %s is left (%v)", r.Name(), path, err)
		}
	}
}

func mountsAt(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	return strings.Count(string(text), " "+path+" ")
}

func pidOf(t *testing.T, server *faultfs.Client) int {
	t.Helper()
	s, err := server.Status()
	must(t, err)
	return s.PID
}

func TestPublishReadUnpublish(t *testing.T) {
	d := startDriver(t)
	r := d.publishRequest("pod", "data")
	d.publish(t, r)
	wantCanary(t, r)
	pid := pidOf(t, d.server(t, "pod", "data"))
	d.unpublish(t, r)
	wantGone(t, d, r.GetTargetPath())
	if _, err := os.Stat(filepath.Join("/proc", itoa(pid))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("FUSE server %d is left: %v", pid, err)
	}
}

func TestPublishAndUnpublishAreIdempotent(t *testing.T) {
	d := startDriver(t)
	r := d.publishRequest("pod", "data")
	d.publish(t, r)
	pid := pidOf(t, d.server(t, "pod", "data"))
	d.publish(t, r)
	if got := pidOf(t, d.server(t, "pod", "data")); got != pid {
		t.Errorf("the second publish began server %d although %d lived", got, pid)
	}
	if n := mountsAt(t, r.GetTargetPath()); n != 1 {
		t.Errorf("%d mounts on the target, want 1", n)
	}
	d.unpublish(t, r)
	d.unpublish(t, r)
}

func TestPublishRefusesAnotherVolumeOnTheTarget(t *testing.T) {
	d := startDriver(t)
	r := d.publishRequest("pod", "data")
	d.publish(t, r)
	for name, change := range map[string]func(*csi.NodePublishVolumeRequest){
		"id":        func(r *csi.NodePublishVolumeRequest) { r.VolumeId = "other" },
		"content":   func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["content"] = "other" },
		"read-only": func(r *csi.NodePublishVolumeRequest) { r.Readonly = true },
	} {
		other := proto.CloneOf(r)
		change(other)
		_, err := d.NodePublishVolume(deadline(t), other)
		t.Log(name)
		wantCode(t, err, codes.AlreadyExists)
	}
	wantCanary(t, r)
}

func TestPublishOverADeadMountMountsAfresh(t *testing.T) {
	for name, breakIt := range map[string]func(*faultfs.Client) error{
		"killed":             (*faultfs.Client).Kill,
		"aborted":            (*faultfs.Client).Abort,
		"stopped and killed": func(c *faultfs.Client) error { return errors.Join(c.Stop(), c.Kill()) },
	} {
		t.Run(name, func(t *testing.T) {
			d := startDriver(t)
			r := d.publishRequest("pod", "data")
			d.publish(t, r)
			must(t, breakIt(d.server(t, "pod", "data")))
			wantDead(t, r)
			d.publish(t, r)
			wantCanary(t, r)
			if n := mountsAt(t, r.GetTargetPath()); n != 1 {
				t.Errorf("%d mounts on the target, want 1", n)
			}
		})
	}
}

func TestUnpublishOfABrokenMount(t *testing.T) {
	for name, breakIt := range map[string]func(*faultfs.Client) error{
		"killed":  (*faultfs.Client).Kill,
		"aborted": (*faultfs.Client).Abort,
		"stopped": (*faultfs.Client).Stop,
		"hung":    func(c *faultfs.Client) error { return c.Hang(faultfs.All) },
	} {
		t.Run(name, func(t *testing.T) {
			d := startDriver(t)
			r := d.publishRequest("pod", "data")
			d.publish(t, r)
			must(t, breakIt(d.server(t, "pod", "data")))
			d.unpublish(t, r)
			wantGone(t, d, r.GetTargetPath())
			d.publish(t, r)
			wantCanary(t, r)
		})
	}
}

// A volume that hangs, with a reader stuck in it, holds up no other one.
func TestHungVolumeBlocksNoOther(t *testing.T) {
	d := startDriver(t)
	hung, fine := d.publishRequest("hung", "data"), d.publishRequest("fine", "data")
	d.publish(t, hung)
	server := d.server(t, "hung", "data")
	must(t, server.Hang(faultfs.All))
	stuck := startCat(t, canaryOf(hung))
	eventually(t, "the reader is held", func() bool { s, err := server.Status(); must(t, err); return s.Held > 0 })

	d.publish(t, fine)
	wantCanary(t, fine)
	d.publish(t, hung) // repeated, while it hangs
	d.unpublish(t, fine)
	d.unpublish(t, hung)
	wantGone(t, d, hung.GetTargetPath())
	if got := stuck.wait(t); !strings.Contains(got, "connection abort") {
		t.Errorf("the stuck reader got %q, want an aborted connection", got)
	}
}

func TestReadOnlyPublish(t *testing.T) {
	for name, d := range map[string]*driver{"own": startDriver(t), "staged": startDriver(t, withStaging)} {
		t.Run(name, func(t *testing.T) {
			r := d.stagedRequest(t, "pod", "data")
			r.Readonly = true
			d.publish(t, r)
			wantCanary(t, r)
			if err := writeIn(t, r.GetTargetPath()); !strings.Contains(err, "read-only file system") {
				t.Errorf("write: got %q, want a read-only file system", err)
			}
			d.unpublish(t, r)
		})
	}
}

func TestAttributesReachTheMount(t *testing.T) {
	d := startDriver(t)
	r := d.publishRequest("pod", "data")
	r.VolumeContext["canary"], r.VolumeContext["source"], r.VolumeContext["ownerOnly"] = "bird", "bucket", "true"
	d.publish(t, r)
	if got := cat(t, filepath.Join(r.GetTargetPath(), "bird")); got != "tweet of pod" {
		t.Errorf("bird: got %q", got)
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, r.GetTargetPath()) &&
			(!strings.Contains(line, " - fuse.faultfs bucket ") || strings.Contains(line, "allow_other")) {
			t.Errorf("mount %q, want source bucket and no allow_other", line)
		}
	}
}

// The driver's end leaves the mount dead. The next one reports it, unpublishes it, or
// publishes it afresh.
func TestRestart(t *testing.T) {
	d := startDriver(t)
	first, second := d.publishRequest("first", "data"), d.publishRequest("second", "data")
	d.publish(t, first)
	d.publish(t, second)
	d.stop()
	wantDead(t, first)

	d = runDriver(t, d.config, d.root)
	d.unpublish(t, first)
	wantGone(t, d, first.GetTargetPath())
	d.publish(t, second)
	wantCanary(t, second)
	d.unpublish(t, second)
}
