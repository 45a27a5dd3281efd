package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/probes"
)

func hung(e *Entry) { e.Cause = probes.CauseHung }

// Two pods of an owner share one staged mount of the node. The first was evicted, and its
// replacement got the same broken mount. The second must be evicted too.
func TestWhoSharesTheMountIsNotHeldByIt(t *testing.T) {
	for _, cause := range []probes.Cause{probes.CauseDisconnected, probes.CauseHung} {
		s := newState(newEntry("b", withOwner, withBackend, withSharedMount("0:50", "node-1"), func(e *Entry) { e.Cause = cause }))
		a := newAsk(func(a *Ask) { a.Case, a.Cause = "0:50", cause })
		if got := s.checkAsk(a, config.Default(), now); got != nil && got.Held == controllers.HeldOwnerBusy {
			t.Fatal("exception is there while pending", got)
		}
		s.Entries[0] = s.closeEntry(s.Entries[0], "StillBroken", now)
		later := now.Add(2 * time.Minute) // the backend's cooldown of 30 s is over
		if got := s.checkUnreplaced(a, config.Default(), later); got != nil {
			t.Errorf("%s: the other user of the one staged mount is held: %+v", cause, got)
		}
	}
}

// A hung pod's replacement is up and proves itself. Then the agent that follows it is lost with its
// node.
func TestAnAgentThatIsGoneHoldsNoDeadDaemon(t *testing.T) {
	cfg := config.Default()
	cfg.NodeName = "node-1"
	e := newEntry("b", withOwner, withBackend, func(e *Entry) { e.Cause, e.WellFor, e.Up = probes.CauseHung, 105, true })
	s := newState(e)
	dead := newAsk()
	requireHeld(t, s.prune(cfg, now).checkAsk(dead, cfg, now), "")
	over := e.At.Add(followUpTimeout(cfg, e) + time.Second)
	dead.Since = over.Add(-5 * time.Second)
	requireHeld(t, s.prune(cfg, over).checkAsk(dead, cfg, over), "")
}

// A replacement was up when the agent that followed it was lost: nobody else waits for that.
func TestAnAgentThatIsGoneSaysNothingOfTheBackend(t *testing.T) {
	cfg := config.Default()
	cfg.NodeName = "node-1"
	e := newEntry("b", withOwner, withBackend, func(e *Entry) { e.Cause, e.WellFor, e.Up = probes.CauseHung, 1820+1800+5, true })
	over := e.At.Add(followUpTimeout(cfg, e) + time.Second)
	s := newState(e).prune(cfg, over)
	if s.Trials["CSI/driver (recoverable)"].isFailing() {
		t.Errorf("the backend is failing for everybody, and the replacement has been well all the while")
	}
	stranger := newAsk(func(a *Ask) {
		a.Namespace, a.Owner.UID, a.Cause = "other", "other", probes.CauseHung
		a.Since = over.Add(-time.Minute)
	})
	requireHeld(t, s.checkAsk(stranger, cfg, over), "")
}

// The backend fails again 30 s before a proof ends, which the replacement's agent cannot have
// reported yet. The proof says nothing about that failure.
func TestAProofVouchesForNothingLater(t *testing.T) {
	s := newState()
	s.learnAftermath(newEntry("c", withBackend, func(e *Entry) { e.Cause, e.WellFor = probes.CauseHung, 105 }), "Healed", now)
	at := now.Add(10 * time.Second)
	n := 0
	for i := range 20 {
		a := newUnrelatedAsk(fmt.Sprint(i))
		a.Cause, a.Backend, a.Failing = probes.CauseHung, "CSI/driver", 20
		a.Since = now.Add(-30 * time.Second)
		if s.checkAsk(a, config.Default(), at) == nil {
			n++
			a.At = at
			s.Entries = append(s.Entries, a.Entry)
		}
	}
	if n > 1 {
		t.Errorf("%d of 20 go at once in a new outage", n)
	}
}

// A pod with the shortest times allowed (period, timeout, hang 1 s, one probe) proves the backend
// for all after 5 s.
func TestAShortProofOpensForNobodyElse(t *testing.T) {
	s := newState()
	s.learnAftermath(newEntry("tenant", withBackend, func(e *Entry) { e.Cause, e.WellFor = probes.CauseHung, 5 }), "Healed", now.Add(-time.Second))
	n := 0
	for i := range 20 {
		a := newUnrelatedAsk(fmt.Sprint(i))
		a.Cause, a.Backend, a.Failing, a.WellFor = probes.CauseHung, "CSI/driver", 20, 105
		if s.checkAsk(a, config.Default(), now) == nil {
			n++
			a.At = now
			s.Entries = append(s.Entries, a.Entry)
		}
	}
	if n > 1 {
		t.Errorf("%d pods that ask for 105 s of proof go on 5 s of another's", n)
	}
}

// On one node of a DaemonSet no pod ends. A dead daemon on another node waits.
func TestAHangThatDoesNotEndHoldsNoDeadDaemon(t *testing.T) {
	s := newState(newEntry("b", withOwner, func(e *Entry) { e.Owner.Kind, e.Cause = "DaemonSet", probes.CauseHung }))
	s.Entries[0] = s.closeEntry(s.Entries[0], "StuckTerminating", now)
	a := newAsk(func(a *Ask) { a.Owner.Kind, a.Node = "DaemonSet", "node-777" })
	at := now.Add(time.Second)
	requireHeld(t, s.checkAsk(a, config.Default(), at), "")
}

// A StatefulSet with a grace of 2 h: nothing replaces web-0 before it has ended.
func TestAGracePeriodHoldsItsOwnOwner(t *testing.T) {
	s := newOwnerScenario(t)
	removed := 0
	for s.clock.Sub(now) < 2*time.Hour && removed < 10 {
		a := s.newReplica(fmt.Sprint("web-", removed), probes.CauseDisconnected, now.Add(-time.Hour), now)
		a.Grace = 2 * 60 * 60
		if !s.isHeld(a) {
			s.removePod(a)
			removed++
		}
		s.clock = s.clock.Add(5 * time.Second)
	}
	if removed > 1 {
		t.Errorf("%d replicas removed while the first is within its own grace period", removed)
	}
}

// followUpSeconds 3600 is allowed: the owner is forgotten while its next trial runs, so that the
// delay never grows.
func TestAnOwnerIsKnownDuringItsTrial(t *testing.T) {
	s := newOwnerScenario(t)
	s.cfg.FollowUpSeconds = 3600
	for i := range 5 {
		a := s.newReplica(fmt.Sprint("web-", i), probes.CauseDisconnected, now.Add(-time.Hour), now)
		for s.isHeld(a) {
			s.clock = s.clock.Add(5 * time.Second)
		}
		s.removePod(a)
		s.clock = s.clock.Add(3630 * time.Second)
		s.endRemoval(a, "NoSuccessor")
	}
	if f := s.state.Owners["a/web-uid"].Failures; f < 3 {
		t.Errorf("after 5 removals in vain the owner has %d failures", f)
	}
}

// The names of one tenant's backends and owners leave room for others, whatever they are made of.
func TestTrialsAndOwnersLeaveRoom(t *testing.T) {
	cfg := config.Default()
	for _, c := range []string{"x", "<"} {
		s := newState()
		for i := range 300 {
			e := newUnrelatedAsk(fmt.Sprint(i)).Entry
			e.Namespace, e.Backend, e.Cause = strings.Repeat("n", 60), "Source/"+fmt.Sprintf("%03d", i)+strings.Repeat(c, 197), probes.CauseHung
			e.Owner.UID = Owner{}.UID + "u" + e.PodUID
			e.At = now.Add(-time.Minute)
			s.learnAftermath(e, "StillBroken", now.Add(-time.Second))
		}
		s = s.prune(cfg, now)
		stranger := newAsk()
		s.Entries = append(s.Entries, stranger.Entry)
		requireHeld(t, checkSize(s, stranger, cfg.Budgets), "")
		requireFits(t, s)
	}
}

// However full the ledger is, the API server takes it, be the entries open or closed.
func TestTheLeaseIsNeverTooLarge(t *testing.T) {
	cfg := config.Default()
	s := newState()
	for i := 0; len(s.Entries) < maxEntries; i++ {
		a := newUnrelatedAsk(fmt.Sprint(i))
		a.Namespace, a.Cause, a.At = strings.Repeat(fmt.Sprint(i%4), 60), probes.CauseHung, now
		a.Pod = strings.Repeat("p", 120) + fmt.Sprint(i)
		a.PodUID = "0b9a8c7d-6e5f-4a3b-9c1d-0123456" + a.PodUID
		a.Owner.UID, a.Owner.Name = "0b9a8c7d-6e5f-4a3b-9c1d-0123456"+a.Owner.UID, "x"
		a.Backend = "Source/" + strings.Repeat("x", 190) + fmt.Sprint(i)
		s.Entries = append(s.Entries, a.Entry)
		if checkSize(s, a, cfg.Budgets) != nil {
			s.Entries = s.Entries[:len(s.Entries)-1]
			break
		}
	}
	requireFits(t, s)
	for i, e := range s.Entries {
		s.Entries[i] = s.closeEntry(e, "StuckCreating", now)
	}
	requireFits(t, s.prune(cfg, now))
}

// requireFits checks that the API server takes the state, with some room for what else is
// annotated.
func requireFits(t *testing.T, s State) {
	t.Helper()
	const limit = 262_144 // apimachinery, TotalAnnotationSizeLimitB
	if text, err := encodeJSON(s); err != nil || len(text) > limit*9/10 {
		t.Errorf("%d bytes of %d, %v", len(text), limit, err)
	}
}

// One permanent trial that failed (a stranger's unschedulable pod) takes the proof of hangs away
// for half an hour.
func TestAProofEndsWhatIsKnownOfOtherCauses(t *testing.T) {
	s := newState()
	s.learnAftermath(newEntry("b", withBackend), "StuckCreating", now.Add(-20*time.Minute))
	s.learnAftermath(newEntry("c", withBackend, hung), "Healed", now.Add(-time.Second))
	s.Entries = []Entry{newEntry("d", withBackend, func(e *Entry) { e.Cause, e.WellFor, e.Up = probes.CauseHung, 105, true })}
	requireHeld(t, s.checkAsk(newAsk(func(a *Ask) { a.Cause = probes.CauseHung }), config.Default(), now), "")
}

// The success of an older eviction does not free the owner of a newer one's failure.
func TestAnOlderHealFreesNoNewerFailure(t *testing.T) {
	s := newState()
	older := newEntry("b", withOwner, func(e *Entry) { e.At = now.Add(-20 * time.Minute) })
	newer := newEntry("c", withOwner, func(e *Entry) { e.At = now.Add(-6 * time.Minute) })
	s.learnAftermath(newer, "NoSuccessor", now.Add(-30*time.Second))
	s.learnAftermath(older, "Healed", now)
	requireHeld(t, s.checkUnreplaced(newAsk(), config.Default(), now), controllers.HeldBackoff)
}
