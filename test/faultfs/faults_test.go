package faultfs_test

import (
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

func TestTheNearestFaultCounts(t *testing.T) {
	var f faultfs.Faults
	expect := func(op faultfs.Op, want syscall.Errno) {
		t.Helper()
		if got := f.Pass(op); got != want {
			t.Errorf("%s: got %v, want %v", op, got, want)
		}
	}
	expect(faultfs.Read, 0)
	f.Set(faultfs.All, faultfs.Fail(unix.EIO))
	f.Set(faultfs.Read, faultfs.Fail(unix.EACCES))
	expect(faultfs.Read, unix.EACCES)
	expect(faultfs.Statfs, unix.EIO)
	f.Set(faultfs.Read, faultfs.Fault{})
	expect(faultfs.Read, unix.EIO)
	f.Set(faultfs.All, faultfs.Fault{})
	expect(faultfs.Read, 0)
	f.Set(faultfs.Read, faultfs.Fail(unix.EIO))
	f.Clear()
	expect(faultfs.Read, 0)
}

func TestHangEndsWithWhatComesNext(t *testing.T) {
	for name, c := range map[string]struct {
		next func(*faultfs.Faults)
		want syscall.Errno
	}{
		"cleared":       {(*faultfs.Faults).Clear, 0},
		"error instead": {func(f *faultfs.Faults) { f.Set(faultfs.All, faultfs.Fail(unix.EIO)) }, unix.EIO},
		"none instead":  {func(f *faultfs.Faults) { f.Set(faultfs.All, faultfs.Fault{}) }, 0},
		"slow instead":  {func(f *faultfs.Faults) { f.Set(faultfs.All, faultfs.Slow(time.Minute)) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f faultfs.Faults
				f.Set(faultfs.All, faultfs.Hang())
				got := passAside(&f, faultfs.Read)
				synctest.Wait()
				expectHeld(t, &f, 1)
				c.next(&f)
				if errno := <-got; errno != c.want {
					t.Errorf("got %v, want %v", errno, c.want)
				}
				synctest.Wait()
				expectHeld(t, &f, 0)
			})
		})
	}
}

// A change elsewhere wakes those who hang, who must go on hanging.
func TestHangOutlastsOtherChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f faultfs.Faults
		f.Set(faultfs.Read, faultfs.Hang())
		got := passAside(&f, faultfs.Read)
		synctest.Wait()
		f.Set(faultfs.Statfs, faultfs.Fail(unix.EIO))
		synctest.Wait()
		expectHeld(t, &f, 1)
		f.Clear()
		<-got
	})
}

func TestSlowTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f faultfs.Faults
		f.Set(faultfs.Read, faultfs.Slow(3*time.Second))
		began := time.Now()
		if errno := f.Pass(faultfs.Read); errno != 0 {
			t.Errorf("got %v, want the true answer", errno)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v, want 3s", took)
		}
	})
}

func TestClearFreesAll(t *testing.T) {
	const requests = 50
	synctest.Test(t, func(t *testing.T) {
		var f faultfs.Faults
		f.Set(faultfs.All, faultfs.Hang())
		var all sync.WaitGroup
		for range requests {
			all.Go(func() { _ = f.Pass(faultfs.Getattr) })
		}
		synctest.Wait()
		expectHeld(t, &f, requests)
		f.Clear()
		all.Wait()
		expectHeld(t, &f, 0)
	})
}

func TestSnapshotIsACopy(t *testing.T) {
	var f faultfs.Faults
	f.Set(faultfs.Read, faultfs.Hang())
	byOp, _ := f.Snapshot()
	clear(byOp)
	if again, _ := f.Snapshot(); again[faultfs.Read] != faultfs.Hang() {
		t.Errorf("got %v, want that the caller's change had no effect", again)
	}
}

func passAside(f *faultfs.Faults, op faultfs.Op) <-chan syscall.Errno {
	got := make(chan syscall.Errno, 1)
	go func() { got <- f.Pass(op) }()
	return got
}

func expectHeld(t *testing.T, f *faultfs.Faults, want int) {
	t.Helper()
	if _, held := f.Snapshot(); held != want {
		t.Errorf("%d requests held, want %d", held, want)
	}
}
