package lab_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/worker"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// While one of a batch hangs its worker holds nothing of the others, nor of the container's root.
func TestParkedWorkerHoldsNothingElse(t *testing.T) {
	pool, err := worker.New(worker.Options{WorkerPath: ownWorker(t)})
	must(t, err)
	t.Cleanup(func() { must(t, pool.Close(context.Background())) })
	finder := proc.NewFinder("/proc")
	t.Cleanup(finder.Close)
	before, hung, after := newVolume(t, faultfs.Options{}), newVolume(t, faultfs.Options{}), newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{Binds: map[string]string{"/before": before.Mountpoint(), "/hung": hung.Mountpoint(), "/after": after.Mountpoint()}})
	var tasks []worker.Task
	eventually(t, "container found", func() bool {
		target, err := finder.Find(c.id)
		tasks = nil
		for _, path := range []string{"/before", "/hung", "/after", "/"} {
			tasks = append(tasks, worker.Task{Target: target, Request: check.Request{Path: path}})
		}
		return err == nil
	})
	for i, r := range pool.Look(t.Context(), tasks, timeout) {
		tasks[i].Request.MountID = r.Answer.MountID
		tasks[i].Device = "of " + tasks[i].Request.Path
	}
	must(t, hung.Stop())
	seen := pool.Look(t.Context(), tasks, hangTimeout)
	for i, r := range seen {
		if isHung := !r.Since.IsZero(); r.Err != nil || isHung != (i == 1) {
			t.Errorf("%s: %+v", tasks[i].Request.Path, r)
		}
	}
	held := map[uint64]int{}
	for _, pid := range children(t) {
		for _, id := range heldMounts(t, pid) {
			held[id]++
		}
	}
	for i, want := range []int{0, 1, 0, 0} {
		if r := tasks[i].Request; held[r.MountID] != want {
			t.Errorf("%s is held by %d descriptors of workers, want %d", r.Path, held[r.MountID], want)
		}
	}
	must(t, hung.Continue())
}

// heldMounts are those that a process has descriptors on.
func heldMounts(t *testing.T, pid int) (ids []uint64) {
	t.Helper()
	infos, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fdinfo/*")
	must(t, err)
	for _, info := range infos {
		text, err := os.ReadFile(info)
		if err != nil {
			continue // closed since
		}
		if found := regexp.MustCompile(`mnt_id:\s*(\d+)`).FindSubmatch(text); found != nil {
			id, err := strconv.ParseUint(string(found[1]), 10, 64)
			must(t, err)
			ids = append(ids, id)
		}
	}
	return ids
}
