package verdict_test

import (
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

func TestShown(t *testing.T) {
	for want, m := range map[string][]verdict.Mount{
		"Unknown": {{}, {Unseen: 1}, {Phase: verdict.Healthy, Unseen: 1}, {Phase: verdict.Failed, Unseen: 2}},
		"Healthy": {{Phase: verdict.Healthy}},
		"Suspect": {{Phase: verdict.Suspect}},
		"Failed":  {{Phase: verdict.Failed}},
	} {
		for _, m := range m {
			if got := m.Shown(); got != want {
				t.Errorf("%+v is shown as %s, want %s", m, got, want)
			}
		}
	}
}

func TestOutlookOfWhatIsNotBroken(t *testing.T) {
	for _, m := range []verdict.Mount{{}, {Phase: verdict.Healthy}} {
		if got := m.Outlook(rules); got != (verdict.Outlook{}) {
			t.Errorf("%s: %+v", m.Phase, got)
		}
	}
}

// The outlook comes true: a mount that stays broken has Failed after that many observations, the
// last of them not before that time, and never with fewer or sooner.
func TestTheOutlookComesTrue(t *testing.T) {
	for _, cause := range probes.Causes() {
		for threshold := 1; threshold <= 5; threshold++ {
			r := verdict.Rules{FailureThreshold: threshold, Hang: 47 * time.Second, Period: 10 * time.Second, Settle: 7 * time.Second}
			s, now := verdict.State{}, epoch
			look := func(cause probes.Cause) verdict.Mount {
				o := probes.Observation{Target: data, Health: probes.Broken, Cause: cause, Started: now, Finished: now}
				switch cause {
				case healthy:
					o.Health, o.Cause = probes.Healthy, probes.CauseNone
				case probes.CauseHung:
					o.Started = epoch.Add(r.Period)
				}
				s, _ = verdict.Step(s, []probes.Observation{o}, r, now)
				return s[data]
			}
			look(healthy)
			now = now.Add(r.Period)
			for m := look(cause); m.Phase == verdict.Suspect; m = s[data] {
				outlook := m.Outlook(r)
				now = now.Add(r.Period)
				next := look(cause)
				comes := outlook.Looks == 1 && !now.Before(outlook.At)
				if failed := next.Phase == verdict.Failed; failed != comes {
					t.Fatalf("%s, threshold %d: failed %v after the outlook %+v at %s", cause, threshold, failed, outlook, now)
				}
			}
			if got, want := s[data].Outlook(r), (verdict.Outlook{At: now.Add(r.Settle)}); got != want {
				t.Errorf("%s, threshold %d: of what has failed %+v, want %+v", cause, threshold, got, want)
			}
		}
	}
}
