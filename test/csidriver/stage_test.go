package csidriver_test

import (
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

func (d *driver) stageRequest(id string) *csi.NodeStageVolumeRequest {
	return &csi.NodeStageVolumeRequest{
		VolumeId:          id,
		StagingTargetPath: d.staging(id),
		VolumeCapability:  mountCapability(),
		VolumeContext:     map[string]string{"content": "tweet of " + id},
	}
}

func (d *driver) stage(t *testing.T, id string) {
	t.Helper()
	_, err := d.NodeStageVolume(deadline(t), d.stageRequest(id))
	must(t, err)
}

func (d *driver) unstage(t *testing.T, id string) {
	t.Helper()
	_, err := d.NodeUnstageVolume(deadline(t), &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: d.staging(id)})
	must(t, err)
}

// pvRequest asks for a PersistentVolume on a target of the pod.
func (d *driver) pvRequest(pod, id string) *csi.NodePublishVolumeRequest {
	r := d.publishRequest(pod, id)
	r.VolumeId = id
	r.VolumeContext["content"] = "tweet of " + id
	delete(r.VolumeContext, "csi.storage.k8s.io/ephemeral")
	if d.config.Stage {
		r.StagingTargetPath = d.staging(id)
	}
	return r
}

// stagedRequest is a pvRequest whose volume is staged, if the driver stages.
func (d *driver) stagedRequest(t *testing.T, pod, id string) *csi.NodePublishVolumeRequest {
	t.Helper()
	if d.config.Stage {
		d.stage(t, id)
		t.Cleanup(func() { d.unstage(t, id) })
	}
	return d.pvRequest(pod, id)
}

func TestOneServerPerStagedVolume(t *testing.T) {
	d := startDriver(t, withStaging)
	d.stage(t, "pv")
	one, two := d.pvRequest("one", "pv"), d.pvRequest("two", "pv")
	d.publish(t, one)
	d.publish(t, two)
	wantCanary(t, one)
	wantCanary(t, two)
	if a, b := pidOf(t, d.server(t, "one", "pv")), pidOf(t, d.server(t, "two", "pv")); a != b {
		t.Errorf("servers %d and %d, want one", a, b)
	}
	must(t, d.server(t, "one", "").Kill())
	wantDead(t, two)
	d.unpublish(t, one)
	d.unpublish(t, two)
	d.unstage(t, "pv")
	for _, path := range []string{one.GetTargetPath(), two.GetTargetPath(), d.staging("pv")} {
		wantGone(t, d, path)
	}
}

// One target's unpublish leaves the connection to the others, which share it.
func TestUnpublishOfOneTargetLeavesTheOther(t *testing.T) {
	d := startDriver(t, withStaging)
	d.stage(t, "pv")
	one, two := d.pvRequest("one", "pv"), d.pvRequest("two", "pv")
	d.publish(t, one)
	d.publish(t, two)
	d.unpublish(t, one)
	wantGone(t, d, one.GetTargetPath())
	wantCanary(t, two)
}

func TestStagingIsIdempotent(t *testing.T) {
	d := startDriver(t, withStaging)
	d.stage(t, "pv")
	r := d.pvRequest("pod", "pv")
	d.publish(t, r)
	pid := pidOf(t, d.server(t, "pod", "pv"))
	d.stage(t, "pv")
	d.publish(t, r)
	if got := pidOf(t, d.server(t, "pod", "pv")); got != pid {
		t.Errorf("server %d after a second time, want %d still", got, pid)
	}
	if n := mountsAt(t, r.GetTargetPath()); n != 1 {
		t.Errorf("%d mounts on the target, want 1", n)
	}
	d.unpublish(t, r)
	d.unstage(t, "pv")
	d.unstage(t, "pv")
}

// A publish brings a staged volume whose server died back to life: the kubelet takes
// it for staged and will not ask.
func TestPublishRevivesADeadStagedVolume(t *testing.T) {
	d := startDriver(t, withStaging)
	d.stage(t, "pv")
	old, fresh := d.pvRequest("old", "pv"), d.pvRequest("fresh", "pv")
	d.publish(t, old)
	must(t, d.server(t, "old", "pv").Kill())
	d.publish(t, fresh)
	wantCanary(t, fresh)
	wantDead(t, old)
	d.publish(t, old)
	wantCanary(t, old)
}

func TestStagedVolumeThatHangsEnds(t *testing.T) {
	d := startDriver(t, withStaging)
	d.stage(t, "pv")
	r := d.pvRequest("pod", "pv")
	d.publish(t, r)
	must(t, d.server(t, "pod", "pv").Hang(faultfs.All))
	stuck := startCat(t, canaryOf(r))
	d.unpublish(t, r)
	wantGone(t, d, r.GetTargetPath())
	d.unstage(t, "pv")
	wantGone(t, d, d.staging("pv"))
	stuck.wait(t)
}

func TestInlineVolumesAreNotStaged(t *testing.T) {
	d := startDriver(t, withStaging)
	r := d.publishRequest("pod", "data")
	d.publish(t, r)
	wantCanary(t, r)
}

func TestStagingErrors(t *testing.T) {
	d, plain := startDriver(t, withStaging), startDriver(t)
	_, err := d.NodePublishVolume(deadline(t), d.pvRequest("pod", "not-staged"))
	wantCode(t, err, codes.FailedPrecondition)

	d.stage(t, "pv")
	r := d.pvRequest("pod", "other")
	r.StagingTargetPath = d.staging("pv")
	_, err = d.NodePublishVolume(deadline(t), r)
	wantCode(t, err, codes.FailedPrecondition)

	conflict := d.stageRequest("pv")
	conflict.VolumeContext["content"] = "other"
	_, err = d.NodeStageVolume(deadline(t), conflict)
	wantCode(t, err, codes.AlreadyExists)

	_, err = plain.NodeStageVolume(deadline(t), plain.stageRequest("pv"))
	wantCode(t, err, codes.Unimplemented)
	_, err = plain.NodeUnstageVolume(deadline(t), &csi.NodeUnstageVolumeRequest{VolumeId: "pv", StagingTargetPath: plain.staging("pv")})
	wantCode(t, err, codes.Unimplemented)
}

func TestRestartWithStagedVolumes(t *testing.T) {
	d := startDriver(t, withStaging)
	d.stage(t, "pv")
	r := d.pvRequest("pod", "pv")
	d.publish(t, r)
	d.stop()
	wantDead(t, r)

	d = runDriver(t, d.config, d.root)
	d.publish(t, r)
	wantCanary(t, r)
	d.unpublish(t, r)
	d.unstage(t, "pv")
	wantGone(t, d, r.GetTargetPath())
	wantGone(t, d, d.staging("pv"))
}

// After a reboot the records are there and the mounts are not.
func TestRestartForgetsWhatIsNotMounted(t *testing.T) {
	d := startDriver(t)
	r := d.publishRequest("pod", "data")
	d.publish(t, r)
	d.stop()
	detach(t, r.GetTargetPath())
	d = runDriver(t, d.config, d.root)
	d.probe(t)
	if left, err := filepath.Glob(filepath.Join(d.config.StateDir, "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("records %v are left (%v)", left, err)
	}
	d.unpublish(t, r)
}
