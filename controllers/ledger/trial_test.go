package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/controllers"
)

func TestCircuitBreaker(t *testing.T) {
	const minute = time.Minute
	one, two, three := newEntry("b", withBackend), newEntry("c", withBackend), newEntry("d", withBackend)
	for name, tc := range map[string]struct {
		ledger  []Entry
		trial   Trial
		failing int
		device  string
		want    controllers.Held
	}{
		"one pod":                                 {failing: 1},
		"as many as allowed":                      {failing: 3},
		"two are under way":                       {ledger: []Entry{one, two}, failing: 1},
		"three are under way":                     {ledger: []Entry{one, two, three}, failing: 1, want: controllers.HeldBackendStorm},
		"under way for another backend":           {ledger: []Entry{newEntry("b"), newEntry("c"), newEntry("d")}, failing: 1},
		"they have ended":                         {ledger: []Entry{newEntry("b", withBackend, withAftermath("Healed")), newEntry("c", withBackend, withAftermath("NoSuccessor")), three}, failing: 1},
		"many fail, the first is tried":           {failing: 4},
		"many fail and one is being tried":        {ledger: []Entry{one}, failing: 4, want: controllers.HeldBackendStorm},
		"a thousand fail":                         {ledger: []Entry{one}, failing: 1000, want: controllers.HeldBackendStorm},
		"many fail, one shares this very mount":   {ledger: []Entry{newEntry("b", withBackend, withSharedMount("0:9", "node-1"))}, failing: 4, device: "0:9"},
		"healed before this one broke":            {ledger: []Entry{one}, trial: Trial{HealedAt: ago(2 * minute)}, failing: 4, want: controllers.HeldBackendStorm},
		"healed after this one broke":             {ledger: []Entry{one, two, three}, trial: Trial{HealedAt: ago(minute / 2)}, failing: 4},
		"healed, then failed again":               {trial: Trial{Failures: 1, HealedAt: ago(40 * time.Second), FailedAt: ago(31 * time.Second)}, failing: 1},
		"healed, then failed, one is being tried": {ledger: []Entry{one}, trial: Trial{Failures: 1, HealedAt: ago(40 * time.Second), FailedAt: ago(31 * time.Second)}, failing: 1, want: controllers.HeldBackendStorm},
		"failed a moment ago":                     {trial: Trial{Failures: 1, FailedAt: ago(29 * time.Second)}, failing: 1, want: controllers.HeldBackendStorm},
		"failed, and the cooldown is over":        {trial: Trial{Failures: 1, FailedAt: ago(30 * time.Second)}, failing: 1},
		"failed twice, within the longer one":     {trial: Trial{Failures: 2, FailedAt: ago(59 * time.Second)}, failing: 1, want: controllers.HeldBackendStorm},
		"failed twice, the longer one is over":    {trial: Trial{Failures: 2, FailedAt: ago(minute)}, failing: 1},
		"failed very often, just before":          {trial: Trial{Failures: 99, FailedAt: ago(maxCooldown - time.Second)}, failing: 1, want: controllers.HeldBackendStorm},
		"failed very often, at last":              {trial: Trial{Failures: 99, FailedAt: ago(maxCooldown)}, failing: 1},
		"failed, and one alone is tried":          {ledger: []Entry{one}, trial: Trial{Failures: 1, FailedAt: ago(minute)}, failing: 1, want: controllers.HeldBackendStorm},
		"failed, then healed":                     {ledger: []Entry{one}, trial: Trial{Failures: 1, FailedAt: ago(minute / 2), HealedAt: ago(minute / 3)}, failing: 4},
	} {
		t.Run(name, func(t *testing.T) {
			s := newState(tc.ledger...)
			s.Trials["CSI/driver"] = tc.trial
			cfg := testConfig()
			cfg.Budgets.Cluster = 100
			requireHeld(t, s.checkAsk(newAsk(func(a *Ask) { a.Failing, a.Case = tc.failing, tc.device }), cfg, now), tc.want)
		})
	}
}

func TestTrialLearns(t *testing.T) {
	learn := func(all ...controllers.Aftermath) Trial {
		s := newState()
		for i, a := range all {
			ended := now.Add(time.Duration(i) * time.Second)
			s.learnAftermath(Entry{At: ended.Add(-time.Second / 2)}, a, ended) // evicted when the one before had ended
		}
		return s.Trials[""]
	}
	for name, tc := range map[string]struct {
		trial    Trial
		failures int
		failing  bool
	}{
		"nothing":                             {learn(), 0, false},
		"healed":                              {learn("Healed"), 0, false},
		"still broken":                        {learn("StillBroken"), 1, true},
		"did not come up":                     {learn("StuckCreating"), 1, true},
		"did not end: no word of the backend": {learn("StuckTerminating"), 0, false},
		"no successor: no word either":        {learn("NoSuccessor"), 0, false},
		"that changes nothing":                {learn("StillBroken", "NoSuccessor", "StuckTerminating"), 1, true},
		"healed at last":                      {learn("StillBroken", "StillBroken", "Healed"), 1, false},
		"flapping is remembered":              {learn("StillBroken", "StillBroken", "Healed", "StillBroken", "Healed", "StillBroken"), 2, true},
		"healing is remembered":               {learn("StillBroken", "Healed", "Healed", "StillBroken"), 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.trial.Failures != tc.failures || tc.trial.isFailing() != tc.failing {
				t.Errorf("%+v, failing %t; want %d failures, failing %t", tc.trial, tc.trial.isFailing(), tc.failures, tc.failing)
			}
		})
	}
}

// Pods that were evicted together, as the threshold allows, fail for one reason: the next attempt
// waits no longer than for one of them.
func TestConcurrentFailuresCountOnce(t *testing.T) {
	var trial Trial
	for i := range 8 {
		trial = trial.withFailure(ago(time.Minute-time.Duration(i)*time.Second), ago(8*time.Second-time.Duration(i)*time.Second))
	}
	if trial.Failures != 1 || trial.remainingCooldown(testConfig().Storm, now) != 29*time.Second {
		t.Errorf("%+v, and it waits for %s", trial, trial.remainingCooldown(testConfig().Storm, now))
	}
	again := trial.withFailure(ago(time.Second/2), now)
	if again.Failures != 2 || again.remainingCooldown(testConfig().Storm, now) != time.Minute {
		t.Errorf("after the next try: %+v, and it waits for %s", again, again.remainingCooldown(testConfig().Storm, now))
	}
	if late := again.withFailure(ago(time.Minute), now.Add(time.Second)); late.Failures != 2 || !late.FailedAt.After(again.FailedAt) {
		t.Errorf("after the last of the first try: %+v", late)
	}
}

func TestTrialIsForgotten(t *testing.T) {
	s := newState()
	s.Trials["old"] = Trial{Failures: 3, FailedAt: ago(forgetTrialAfter + time.Second)}
	s.Trials["healed"] = Trial{FailedAt: ago(forgetTrialAfter + time.Second), HealedAt: ago(time.Minute)}
	s.Trials["failed"] = Trial{FailedAt: ago(forgetTrialAfter)}
	got := s.prune(testConfig(), now).Trials
	if _, old := got["old"]; old || len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// Of more backends than a ledger holds those are forgotten first that have been well for long; what
// fails is known to the last.
func TestTrialsAreBounded(t *testing.T) {
	s := newState()
	at := func(i int) time.Time { return now.Add(-time.Duration(i) * time.Second) }
	for i := range maxTrials {
		s.Trials[fmt.Sprint("Pod/", i)] = Trial{HealedAt: at(i)}
	}
	s.Trials["CSI/down"] = Trial{Failures: 1, FailedAt: at(1000), HealedAt: at(1100)}
	s.Trials["CSI/long down"] = Trial{Failures: 2, FailedAt: at(1200)}
	got := s.prune(testConfig(), now).Trials
	if len(got) != maxTrials {
		t.Errorf("%d trials are kept, want %d", len(got), maxTrials)
	}
	for name, want := range map[string]bool{
		"CSI/down": true, "CSI/long down": true, "Pod/0": true, fmt.Sprint("Pod/", maxTrials-3): true, fmt.Sprint("Pod/", maxTrials-2): false, fmt.Sprint("Pod/", maxTrials-1): false,
	} {
		if _, kept := got[name]; kept != want {
			t.Errorf("%s: kept %t, want %t", name, kept, want)
		}
	}
	for i := range maxTrials {
		s.Trials[fmt.Sprint("CSI/", i)] = Trial{Failures: 1, FailedAt: at(i)}
	}
	got = s.prune(testConfig(), now).Trials
	if _, kept := got["CSI/down"]; kept || len(got) != maxTrials {
		t.Errorf("%d trials, the one that failed long ago is kept: %t", len(got), kept)
	}
}
