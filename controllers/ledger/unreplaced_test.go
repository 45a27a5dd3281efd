package ledger

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/probes"
)

// ownerScenario is an owner's broken replicas, the shared ledger and the owner's streaks, at the
// time that clock shows.
type ownerScenario struct {
	t       *testing.T
	cfg     config.Config
	state   State
	streaks map[string]streak // by ownerLeaseName
	clock   time.Time
}

func newOwnerScenario(t *testing.T) *ownerScenario {
	cfg := config.Default()
	cfg.NodeName = "node-1"
	return &ownerScenario{t: t, cfg: cfg, state: newState(), streaks: map[string]streak{}, clock: now}
}

// newReplica is a pod of the owner that was created and broke at these times.
func (s *ownerScenario) newReplica(name string, cause probes.Cause, created, broken time.Time) Ask {
	return newAsk(func(a *Ask) {
		a.Pod, a.PodUID, a.Cause, a.Created, a.Since, a.Healthy = name, types.UID(name), cause, created, broken, max(0, broken.Sub(created))
	})
}

// isHeld reports whether the pod stays now.
func (s *ownerScenario) isHeld(a Ask) bool {
	s.state = s.state.prune(s.cfg, s.clock)
	return s.streaks[ownerLeaseName(a.Entry)].checkReplacement(a, s.cfg.Backoff, s.clock) != nil || s.state.checkAsk(a, s.cfg, s.clock) != nil
}

func (s *ownerScenario) removePod(a Ask) {
	name := ownerLeaseName(a.Entry)
	s.streaks[name] = s.streaks[name].withRemoval(a, s.cfg.Backoff, s.clock)
	a.At = s.clock
	s.state.Entries = append(s.state.Entries, a.Entry)
}

func (s *ownerScenario) endRemoval(a Ask, how controllers.Aftermath) {
	s.state = s.state.prune(s.cfg, s.clock)
	i := s.state.findEntry(string(a.PodUID))
	if i < 0 {
		s.t.Fatalf("%s is not in the ledger", a.Pod)
	}
	s.state.Entries[i] = s.state.closeEntry(s.state.Entries[i], how, s.clock)
}

// Nothing can replace the replicas of an owner: a quota, a webhook, or a node on which no pod
// ends. Whatever broke them, they are not evicted one by one.
func TestReplicasThatNothingReplaces(t *testing.T) {
	for _, cause := range []probes.Cause{probes.CauseDisconnected, probes.CauseHung} {
		for _, end := range []controllers.Aftermath{"NoSuccessor", "StuckTerminating", "StuckCreating"} {
			t.Run(string(cause)+" "+string(end), func(t *testing.T) {
				s := newOwnerScenario(t)
				removed := 0
				for removed < 10 && s.clock.Sub(now) < 2*time.Hour {
					a := s.newReplica(fmt.Sprint("web-", removed), cause, now.Add(-time.Hour), now)
					if s.isHeld(a) {
						s.clock = s.clock.Add(5 * time.Second)
						continue
					}
					s.removePod(a)
					removed++
					s.clock = s.clock.Add(330 * time.Second) // followUpSeconds and the grace period
					s.endRemoval(a, end)
				}
				if removed > 3 {
					t.Errorf("%d of 10 replicas were removed in two hours", removed)
				}
			})
		}
	}
}

// Two replicas of a FUSE whose server is away: a new mount answers for 15 s, and hangs then. A pod
// that no eviction helps is tried less and less often, and a daemon that dies meanwhile is replaced
// at once.
func TestAnOutageOfTenMinutes(t *testing.T) {
	s := newOwnerScenario(t)
	replicas := []Ask{
		s.newReplica("web-1", probes.CauseHung, now.Add(-time.Hour), now), s.newReplica("web-2", probes.CauseHung, now.Add(-time.Hour), now.Add(time.Second)),
	}
	evictions := 0
	type end struct {
		of Ask
		at time.Time
	}
	var ends []end
	for ; s.clock.Sub(now) < 10*time.Minute; s.clock = s.clock.Add(time.Second) {
		for i, a := range replicas {
			if s.clock.Sub(a.Since) < 40*time.Second || s.isHeld(a) {
				continue
			}
			s.removePod(a)
			evictions++
			replicas[i] = s.newReplica(fmt.Sprint("again-", evictions), probes.CauseHung, s.clock.Add(2*time.Second), s.clock.Add(17*time.Second))
			ends = append(ends, end{a, s.clock.Add(57 * time.Second)})
		}
		for len(ends) > 0 && !s.clock.Before(ends[0].at) {
			s.endRemoval(ends[0].of, "StillBroken")
			ends = ends[1:]
		}
		for _, a := range replicas {
			dead := s.newReplica(a.Pod, probes.CauseDisconnected, a.Created, s.clock)
			if s.isHeld(dead) {
				t.Fatalf("%s, whose daemon has died, is held after %s and %d evictions", a.Pod, s.clock.Sub(now), evictions)
			}
		}
	}
	if evictions == 0 || evictions > 3 {
		t.Errorf("%d evictions in ten minutes, want a trial, and 3 at most", evictions)
	}
}

// An owner's other pods are held by what is known of its latest eviction.
func TestWhomAnEndHolds(t *testing.T) {
	const hung, dead = probes.CauseHung, probes.CauseDisconnected
	for name, tc := range map[string]struct {
		cause probes.Cause // of the eviction, 20 s ago
		end   controllers.Aftermath
		of    probes.Cause  // of the pod that is asked for
		made  time.Duration // how long ago
		held  bool
	}{
		"a healthy one":                               {dead, "Healed", dead, time.Hour, false},
		"broken again, a sibling":                     {dead, "StillBroken", dead, time.Hour, true},
		"broken again, the successor: its row":        {dead, "StillBroken", dead, 10 * time.Second, false},
		"broken again, the successor hangs":           {dead, "StillBroken", hung, 10 * time.Second, true},
		"hangs again, a sibling":                      {hung, "StillBroken", hung, time.Hour, true},
		"hangs again, the successor":                  {hung, "StillBroken", hung, 10 * time.Second, true},
		"hangs again, a sibling's daemon has died":    {hung, "StillBroken", dead, time.Hour, false},
		"hangs again, the successor's daemon":         {hung, "StillBroken", dead, 10 * time.Second, false},
		"did not come up, a sibling":                  {dead, "StuckCreating", dead, time.Hour, true},
		"did not come up, a sibling hangs":            {dead, "StuckCreating", hung, time.Hour, true},
		"came up late, and its daemon has died":       {dead, "StuckCreating", dead, 10 * time.Second, false},
		"hung, did not come up, a dead sibling":       {hung, "StuckCreating", dead, time.Hour, true},
		"nothing made one":                            {dead, "NoSuccessor", dead, time.Hour, true},
		"does not end":                                {dead, "StuckTerminating", dead, time.Hour, true},
		"does not end, a hang":                        {hung, "StuckTerminating", hung, time.Hour, true},
		"hung, does not end, a dead daemon":           {hung, "StuckTerminating", dead, time.Hour, false},
		"nothing is known yet, a dead daemon":         {dead, "", dead, time.Hour, true},
		"nothing is known yet, a hang":                {dead, "", hung, time.Hour, true},
		"a hang is being proven, a dead daemon":       {hung, "", dead, time.Hour, false},
		"a hang is being proven, a hang":              {hung, "", hung, time.Hour, true},
		"healed by a weak proof, a hang of before":    {dead, "Healed", hung, time.Hour, false},
		"hangs again, then one heals a dead daemon's": {hung, "StillBroken", hung, time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newState(newEntry("b", reservedAgo(20*time.Second), withOwner, func(e *Entry) { e.Cause = tc.cause }))
			if tc.end != "" {
				s.Entries[0] = s.closeEntry(s.Entries[0], tc.end, ago(time.Second))
			}
			got := s.checkAsk(newAsk(func(a *Ask) { a.Cause, a.Created = tc.of, ago(tc.made) }), testConfig(), now)
			if held := got != nil; held != tc.held {
				t.Errorf("%+v, want held: %t", got, tc.held)
			}
		})
	}
}

// Once a replacement has proven the backend, the owner's next pod waits no longer than until the
// latest replacement is up.
func TestTheNextPodDoesNotWaitForEachProof(t *testing.T) {
	for name, tc := range map[string]struct {
		healed time.Duration // how long ago a replacement of the backend had proven itself; 0: none has
		cause  probes.Cause
		up     bool
		want   controllers.Held
	}{
		"proven, and up":                        {30 * time.Second, probes.CauseHung, true, ""},
		"proven, and not up yet":                {30 * time.Second, probes.CauseHung, false, controllers.HeldOwnerBusy},
		"proven before this one broke":          {2 * time.Minute, probes.CauseHung, true, controllers.HeldBackendStorm},
		"up, and nothing is proven":             {0, probes.CauseHung, true, controllers.HeldBackendStorm},
		"a dead daemon waits for neither":       {0, probes.CauseDisconnected, false, ""},
		"a dead daemon, the hang has its proof": {30 * time.Second, probes.CauseDisconnected, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newState(newEntry("b", withOwner, withBackend, func(e *Entry) { e.Cause, e.WellFor, e.Up = probes.CauseHung, 105, tc.up }))
			if tc.healed > 0 {
				s.learnAftermath(newEntry("c", withBackend, func(e *Entry) { e.Cause = probes.CauseHung }), "Healed", ago(tc.healed))
			}
			requireHeld(t, s.checkAsk(newAsk(func(a *Ask) { a.Cause = tc.cause }), testConfig(), now), tc.want)
		})
	}
}

// The delay grows with each failure, and a replacement that is healthy after all ends it.
func TestTheDelayOfAnOwnerGrows(t *testing.T) {
	s, cfg := newState(), config.Default()
	e := newEntry("b", withOwner)
	for i, want := range []time.Duration{5 * time.Minute, 20 * time.Minute, 80 * time.Minute, 4 * time.Hour, 4 * time.Hour} {
		e.At = now.Add(time.Duration(i) * time.Hour)
		failed := e.At.Add(time.Minute)
		s.learnAftermath(e, "NoSuccessor", failed)
		sibling := newAsk()
		if got := s.checkUnreplaced(sibling, cfg, failed); got == nil || got.RetryAfter != want {
			t.Errorf("after %d failures: %+v, want %s", i+1, got, want)
		}
		requireHeld(t, s.checkUnreplaced(sibling, cfg, failed.Add(want)), "")
		requireHeld(t, s.checkUnreplaced(newAsk(func(a *Ask) { a.Namespace = "another" }), cfg, failed), "")
	}
	s.learnAftermath(e, "Healed", now)
	if len(s.Owners) > 0 {
		t.Errorf("%v", s.Owners)
	}
}

// A success after a dead daemon says little about a backend that lets mounts hang; a hang's
// replacement that has proven itself says all.
func TestWhatAHealTeaches(t *testing.T) {
	hung := func(e *Entry) { e.Cause = probes.CauseHung }
	for name, tc := range map[string]struct {
		failed, healed func(*Entry) // changes of the entries
		hang, dead     controllers.Held
	}{
		"a hang failed, a dead daemon healed": {hung, func(*Entry) {}, controllers.HeldBackendStorm, ""},
		"a hang failed, a hang healed":        {hung, hung, "", ""},
		"a dead daemon failed, and healed":    {func(*Entry) {}, func(*Entry) {}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newState()
			failed, healed := newEntry("b", withBackend, tc.failed), newEntry("c", withBackend, tc.healed)
			s.learnAftermath(failed, "StillBroken", ago(5*time.Second))
			s.learnAftermath(healed, "Healed", ago(time.Second))
			requireHeld(t, s.checkAsk(newAsk(func(a *Ask) { a.Cause = probes.CauseHung }), testConfig(), now), tc.hang)
			requireHeld(t, s.checkAsk(newAsk(), testConfig(), now), tc.dead)
		})
	}
}

// One namespace's owners do not push out those of another.
func TestOwnersAreBounded(t *testing.T) {
	s := newState()
	for i := range 3 * maxOwners {
		s.Owners[fmt.Sprint("noisy/", i)] = Trial{Failures: 1, FailedAt: ago(time.Duration(i) * time.Millisecond)}
	}
	s.Owners["quiet/old"] = Trial{Failures: 1, FailedAt: ago(4 * time.Minute)}
	s.Owners["quiet/over"] = Trial{Failures: 1, FailedAt: ago(5*time.Minute + forgetTrialAfter + time.Second)}
	got := s.prune(testConfig(), now).Owners
	if _, kept := got["quiet/old"]; !kept || len(got) != maxOwners {
		t.Errorf("%d owners, the quiet one is kept: %t", len(got), kept)
	}
	if _, kept := got["quiet/over"]; kept {
		t.Error("one is kept whose delay was over long ago")
	}
	if _, kept := got["noisy/0"]; !kept {
		t.Error("the latest of the noisy ones is forgotten")
	}
}
