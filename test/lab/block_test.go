package lab_test

import (
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
)

// blockScenarios are about disks that fail below a file system.
func blockScenarios() []scenario {
	const needs = "a disk"
	return []scenario{
		{
			needs: needs, name: "disk fails under ext4, the application writes", does: "dm-error under `errors=remount-ro`; two writes with fsync",
			want: failed(probes.CauseReadOnly), run: onMapped("ext4", "errors=remount-ro", probes.Canary{}, (*mapped).fails, (*disk).write),
		},
		{
			needs: needs, name: "disk fails under ext4 with default options, the application writes", does: "dm-error; two writes with fsync: the journal is lost",
			want: failed(probes.CauseReadOnly), run: onMapped("ext4", "", probes.Canary{}, (*mapped).fails, (*disk).write),
		},
		{
			needs: needs, name: "disk fails under XFS, the application writes", does: "dm-error; two writes with fsync, at which the file system shuts down",
			want: failed(probes.CauseIOError), run: onMapped("xfs", "", probes.Canary{}, (*mapped).fails, (*disk).write),
		},
		{
			needs: needs, name: "disk fails under ext4, canary", does: "dm-error; nothing but the canary is read",
			want: failed(probes.CauseCanaryFailed), run: onMapped("ext4", "", canary, (*mapped).fails, kept),
		},
		{
			needs: needs, name: "disk hangs under ext4, canary", does: "the device is suspended; nothing but the canary is read",
			want: failed(probes.CauseHung), shows: "no answer to canary", run: onMapped("ext4", "", canary, (*mapped).suspends, kept),
		},
		{
			needs: needs, name: "disk hangs under ext4, no canary", does: "the device is suspended: the kernel answers for the root from memory",
			want: stays, run: onMapped("ext4", "", probes.Canary{}, (*mapped).suspends, kept),
		},
	}
}

// slices of the disk that are in use.
var lastSlice atomic.Int32

func onMapped(fstype, options string, canary probes.Canary, fault func(*mapped), then func(*disk) error) func(*scene) {
	return func(s *scene) {
		device := newMapped(s.t, int(lastSlice.Add(1))-1)
		d := &disk{device: device.device, path: s.csi().source}
		force := map[string]string{"ext4": "-F", "xfs": "-f"}[fstype]
		s.run("mkfs."+fstype, "-q", force, device.path())
		s.mount(device.path(), d.path, fstype, 0, options)
		s.t.Cleanup(func() {
			device.works()
			s.container.kill()
			eventually(s.t, "unmounted", func() bool { return syscall.Unmount(d.path, 0) == nil })
		})
		s.must(writeThrough(d.path + "/canary"))
		s.onDisk(d, canary, func(d *disk) error {
			fault(device)
			if canary != (probes.Canary{}) {
				s.timeout = hangTimeout
			}
			return then(d)
		})
	}
}

// TestBlockFailures is TestFailures on a disk that may be overwritten.
func TestBlockFailures(t *testing.T) {
	needRoot(t)
	if os.Getenv(diskEnv) == "" {
		t.Skip("needs a disk that may be overwritten: make test-kernels")
	}
	p := newLooker(t, nodeOptions())
	all := slices.DeleteFunc(scenarios(), func(sc scenario) bool { return sc.needs != "a disk" })
	rows := make([]row, len(all))
	t.Run("row", func(t *testing.T) {
		for i, sc := range all {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				rows[i] = row{result: "no result"}
				sc.play(newScene(t, p), &rows[i])
			})
		}
	})
	t.Log("\n" + runTable(all, rows))
	writeRows(t, "MOUNTWARDEN_LAB_DISK_ROWS", all, rows)
}
