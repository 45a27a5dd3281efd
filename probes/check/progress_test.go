package check_test

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
)

func TestProgressPage(t *testing.T) {
	b := &check.ProgressPage{}
	at := readProgress(t, b)
	if at.Item != -1 || at.Cut {
		t.Errorf("before the first item: %+v", at)
	}
	want := check.Answer{Stage: check.StageStatx, Errno: syscall.ENOTCONN, MountID: 1<<64 - 1, MountRoot: true, Mismatch: true, Unasked: true,
		Unlinked: true, NoSpace: true, WrongType: true, File: true}
	if !b.Begin(0, 7) {
		t.Error("the worker was kept from its first item")
	}
	b.Enter(check.StageStatfs)
	if a, err := b.Answer(0); err == nil {
		t.Errorf("an answer before there is one: %+v", a)
	}
	if at = readProgress(t, b); at.Item != 0 || at.Stage != check.StageStatfs || at.Begun != 7 {
		t.Errorf("in the first item: %+v", at)
	}
	b.Record(0, want)
	if !b.Begin(1, 8) {
		t.Error("the worker was kept from its second item")
	}
	if got, err := b.Answer(0); err != nil || got != want {
		t.Errorf("%+v became %+v, %v", want, got, err)
	}
	if b.Cut(at) {
		t.Error("cut where the worker has gone on")
	}
	if !b.Cut(readProgress(t, b)) {
		t.Error("not cut")
	}
	b.Enter(check.StageStatx)
	if b.Begin(2, 9) || b.End(2) {
		t.Error("the worker went on after the cut")
	}
	if at = readProgress(t, b); at.Item != 1 || at.Stage != check.StageStatx || at.Begun != 8 || !at.Cut {
		t.Errorf("after the cut: %+v", at)
	}
	b.Reset()
	b.Begin(0, 9)
	if a, err := b.Answer(0); err == nil {
		t.Errorf("the answer of an earlier batch: %+v", a)
	}
	if !b.End(3) || readProgress(t, b).Item != 3 {
		t.Error("the end is not in the page")
	}
}

// Of "the worker begins the next item" and "the agent cuts" exactly one happens, and whatever is
// answered is readable.
func TestCutOrAdvance(t *testing.T) {
	b := &check.ProgressPage{}
	wins := map[bool]int{}
	for round := range 20_000 {
		b.Reset()
		b.Begin(0, 1)
		at := readProgress(t, b)
		var both sync.WaitGroup
		var went, cut bool
		both.Go(func() {
			b.Enter(check.StageStatx)
			b.Record(0, check.Answer{Stage: check.StageStatx, MountID: uint64(round)})
			went = b.Begin(1, 2)
		})
		both.Go(func() {
			for !cut && at.Item == 0 {
				if cut = b.Cut(at); !cut {
					at, _ = b.Progress()
				}
			}
		})
		both.Wait()
		end := readProgress(t, b)
		if went == cut || end.Cut != cut || went != (end.Item == 1) {
			t.Fatalf("round %d: went on %t, cut %t: %+v", round, went, cut, end)
		}
		if a, err := b.Answer(0); err != nil || a.MountID != uint64(round) {
			t.Fatalf("round %d: %+v, %v", round, a, err)
		}
		wins[cut]++
	}
	t.Logf("cut %d times, went on %d times", wins[true], wins[false])
}

func FuzzProgressPage(f *testing.F) {
	b := &check.ProgressPage{}
	b.Begin(2, time.Hour)
	f.Add(check.BytesOf(b)[:64], byte(1))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, byte(0))
	f.Add([]byte{3, 5, 64, 0}, byte(63))
	f.Fuzz(func(t *testing.T, mem []byte, item byte) {
		b := &check.ProgressPage{}
		copy(check.BytesOf(b), mem)
		at, err := b.Progress()
		if at.Item < -1 || at.Item > check.MaxItems || err != nil && at.Item != -1 {
			t.Errorf("%+v, %v", at, err)
		}
		a, err := b.Answer(int(item) % check.MaxItems)
		if err != nil && a != (check.Answer{}) || a.Errno > 4095 {
			t.Errorf("%+v, %v", a, err)
		}
		if found := check.Judge(a); err != nil && found.Health != probes.Unknown {
			t.Errorf("nonsense became %+v", found)
		}
	})
}

func readProgress(t *testing.T, b *check.ProgressPage) check.Progress {
	t.Helper()
	at, err := b.Progress()
	if err != nil {
		t.Fatal(err)
	}
	return at
}
