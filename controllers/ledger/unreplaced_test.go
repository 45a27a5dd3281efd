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

// shop is an owner's broken replicas, the shared ledger and the rows of the owner, played by the clock.
type shop struct {
	t     *testing.T
	cfg   config.Config
	state State
	rows  map[string]row // by leaseName
	clock time.Time
}

func newShop(t *testing.T) *shop {
	cfg := config.Default()
	cfg.NodeName = "node-1"
	return &shop{t: t, cfg: cfg, state: entries(), rows: map[string]row{}, clock: now}
}

// replica is a pod of the owner that was made and broke at these times.
func (s *shop) replica(name string, cause probes.Cause, created, broken time.Time) Ask {
	return ask(func(a *Ask) {
		a.Pod, a.PodUID, a.Cause, a.Created, a.Since, a.Healthy = name, types.UID(name), cause, created, broken, max(0, broken.Sub(created))
	})
}

// isHeld reports whether the pod stays now.
func (s *shop) isHeld(a Ask) bool {
	s.state = s.state.pruned(s.cfg, s.clock)
	return s.rows[leaseName(a.Entry)].refuse(a, s.cfg.Backoff, s.clock) != nil || s.state.admit(a, s.cfg, s.clock) != nil
}

func (s *shop) remove(a Ask) {
	name := leaseName(a.Entry)
	s.rows[name] = s.rows[name].next(a, s.cfg.Backoff, s.clock)
	a.At = s.clock
	s.state.Entries = append(s.state.Entries, a.Entry)
}

func (s *shop) end(a Ask, how controllers.Aftermath) {
	s.state = s.state.pruned(s.cfg, s.clock)
	i := s.state.find(string(a.PodUID))
	if i < 0 {
		s.t.Fatalf("%s is not in the ledger", a.Pod)
	}
	s.state.Entries[i] = s.state.end(s.state.Entries[i], how, s.clock)
}

// Nothing can replace the replicas of an owner: a quota, a webhook, or a node that lets no pod go. Whatever broke them, they are not
// eaten one by one.
func TestReplicasThatNothingReplaces(t *testing.T) {
	for _, cause := range []probes.Cause{probes.CauseDisconnected, probes.CauseHung} {
		for _, end := range []controllers.Aftermath{"NoSuccessor", "StuckTerminating", "StuckCreating"} {
			t.Run(string(cause)+" "+string(end), func(t *testing.T) {
				s := newShop(t)
				removed := 0
				for removed < 10 && s.clock.Sub(now) < 2*time.Hour {
					a := s.replica(fmt.Sprint("web-", removed), cause, now.Add(-time.Hour), now)
					if s.isHeld(a) {
						s.clock = s.clock.Add(5 * time.Second)
						continue
					}
					s.remove(a)
					removed++
					s.clock = s.clock.Add(330 * time.Second) // followUpSeconds and the grace period
					s.end(a, end)
				}
				if removed > 3 {
					t.Errorf("%d of 10 replicas were removed in two hours", removed)
				}
			})
		}
	}
}

// Two replicas of a FUSE whose server is away: a new mount answers for 15 s, and hangs then. A pod that nothing would help is tried
// ever less often, and a daemon that dies meanwhile is replaced at once.
func TestAnOutageOfTenMinutes(t *testing.T) {
	s := newShop(t)
	replicas := []Ask{
		s.replica("web-1", probes.CauseHung, now.Add(-time.Hour), now), s.replica("web-2", probes.CauseHung, now.Add(-time.Hour), now.Add(time.Second)),
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
			s.remove(a)
			evictions++
			replicas[i] = s.replica(fmt.Sprint("again-", evictions), probes.CauseHung, s.clock.Add(2*time.Second), s.clock.Add(17*time.Second))
			ends = append(ends, end{a, s.clock.Add(57 * time.Second)})
		}
		for len(ends) > 0 && !s.clock.Before(ends[0].at) {
			s.end(ends[0].of, "StillBroken")
			ends = ends[1:]
		}
		for _, a := range replicas {
			dead := s.replica(a.Pod, probes.CauseDisconnected, a.Created, s.clock)
			if s.isHeld(dead) {
				t.Fatalf("%s, whose daemon has died, is held after %s and %d evictions", a.Pod, s.clock.Sub(now), evictions)
			}
		}
	}
	if evictions == 0 || evictions > 3 {
		t.Errorf("%d evictions in ten minutes, want a trial, and 3 at most", evictions)
	}
}

// An owner's other pods are held by what is known of its latest removal.
func TestWhomAnEndHolds(t *testing.T) {
	const hung, dead = probes.CauseHung, probes.CauseDisconnected
	for name, tc := range map[string]struct {
		cause probes.Cause // of the removal, 20 s ago
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
			s := entries(entry("b", at(20*time.Second), ofOwner, func(e *Entry) { e.Cause = tc.cause }))
			if tc.end != "" {
				s.Entries[0] = s.end(s.Entries[0], tc.end, ago(time.Second))
			}
			got := s.admit(ask(func(a *Ask) { a.Cause, a.Created = tc.of, ago(tc.made) }), settings(), now)
			if held := got != nil; held != tc.held {
				t.Errorf("%+v, want held: %t", got, tc.held)
			}
		})
	}
}

// Once a replacement has proven the backend, the owner's next pod waits no longer than until the latest replacement is up.
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
			s := entries(entry("b", ofOwner, ofBackend, func(e *Entry) { e.Cause, e.WellFor, e.Up = probes.CauseHung, 105, tc.up }))
			if tc.healed > 0 {
				s.learn(entry("c", ofBackend, func(e *Entry) { e.Cause = probes.CauseHung }), "Healed", ago(tc.healed))
			}
			requireHeld(t, s.admit(ask(func(a *Ask) { a.Cause = tc.cause }), settings(), now), tc.want)
		})
	}
}

// The delay grows with each failure, and a replacement that is healthy after all ends it.
func TestTheDelayOfAnOwnerGrows(t *testing.T) {
	s, cfg := entries(), config.Default()
	e := entry("b", ofOwner)
	for i, want := range []time.Duration{5 * time.Minute, 20 * time.Minute, 80 * time.Minute, 4 * time.Hour, 4 * time.Hour} {
		e.At = now.Add(time.Duration(i) * time.Hour)
		failed := e.At.Add(time.Minute)
		s.learn(e, "NoSuccessor", failed)
		sibling := ask()
		if got := s.unreplaced(sibling, cfg, failed); got == nil || got.RetryAfter != want {
			t.Errorf("after %d failures: %+v, want %s", i+1, got, want)
		}
		requireHeld(t, s.unreplaced(sibling, cfg, failed.Add(want)), "")
		requireHeld(t, s.unreplaced(ask(func(a *Ask) { a.Namespace = "another" }), cfg, failed), "")
	}
	s.learn(e, "Healed", now)
	if len(s.Owners) > 0 {
		t.Errorf("%v", s.Owners)
	}
}

// A heal of a dead daemon's pod says little of a backend that lets mounts hang; a hang's replacement that has proven itself says all.
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
			s := entries()
			failed, healed := entry("b", ofBackend, tc.failed), entry("c", ofBackend, tc.healed)
			s.learn(failed, "StillBroken", ago(5*time.Second))
			s.learn(healed, "Healed", ago(time.Second))
			requireHeld(t, s.admit(ask(func(a *Ask) { a.Cause = probes.CauseHung }), settings(), now), tc.hang)
			requireHeld(t, s.admit(ask(), settings(), now), tc.dead)
		})
	}
}

// One namespace's owners do not push out those of another.
func TestOwnersAreBounded(t *testing.T) {
	s := entries()
	for i := range 3 * maxOwners {
		s.Owners[fmt.Sprint("noisy/", i)] = Trial{Failures: 1, FailedAt: ago(time.Duration(i) * time.Millisecond)}
	}
	s.Owners["quiet/old"] = Trial{Failures: 1, FailedAt: ago(4 * time.Minute)}
	s.Owners["quiet/over"] = Trial{Failures: 1, FailedAt: ago(5*time.Minute + forgetTrialIn + time.Second)}
	got := s.pruned(settings(), now).Owners
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
