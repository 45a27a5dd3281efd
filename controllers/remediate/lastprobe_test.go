package remediate_test

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/controllers/remediate"
	"github.com/mountwarden/mountwarden/probes"
)

// The last probe is judged by the state machine that has found the mount failed. The pod is evicted
// only if the mount still is.
func TestLastProbe(t *testing.T) {
	looked := func(o probes.Observation) func(*fakes) {
		return func(w *fakes) { w.lastProbe = &o }
	}
	for name, tc := range map[string]struct {
		cause   probes.Cause // that was judged; "" is Disconnected
		prepare func(*fakes)
		outcome controllers.Outcome
		held    controllers.Held
	}{
		"recovered":        {"", looked(probes.Observation{Health: probes.Healthy}), controllers.OutcomeHealthy, ""},
		"cannot tell":      {"", looked(probes.Observation{Detail: "no turn"}), controllers.OutcomeHeld, controllers.HeldNotConfirmed},
		"does not find it": {"", func(w *fakes) { w.omitsMount = true }, controllers.OutcomeHeld, controllers.HeldNotConfirmed},
		"as it was from the beginning": {
			probes.CauseIOError, looked(probes.Observation{Health: probes.Broken, Cause: probes.CauseReadOnly, ByDesign: true}), controllers.OutcomeHealthy, "",
		},
		"a canary that was never there": {
			probes.CauseIOError, looked(probes.Observation{Health: probes.Broken, Cause: probes.CauseCanaryFailed, ByDesign: true}),
			controllers.OutcomeHeld, controllers.HeldNotConfirmed,
		},
		"slow, its timeout is not over": {probes.CauseIOError, looked(newHung(4900 * time.Millisecond)), controllers.OutcomeHeld, controllers.HeldNotConfirmed},
		"another question hangs":        {probes.CauseHung, looked(newHung(3 * time.Second)), controllers.OutcomeHeld, controllers.HeldNotConfirmed},
		"broken otherwise":              {"", looked(newHung(5 * time.Second)), controllers.OutcomeEvicted, ""},
		"hangs on":                      {probes.CauseHung, looked(newHung(43 * time.Second)), controllers.OutcomeEvicted, ""},
		"hung, and is broken now":       {probes.CauseHung, looked(newBroken(probes.CauseDisconnected)), controllers.OutcomeEvicted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			if tc.cause != "" {
				s.setCause(tc.cause)
			}
			tc.prepare(&s.fakes)
			s.requireResult(s.remediate(), tc.outcome, config.ActionEvict, tc.held)
			if tc.outcome.Removed() {
				return
			}
			s.requireUntouched()
			s.requireNoEntry()
			s.fakes.lastProbe, s.fakes.omitsMount = nil, false
			s.requireEvicted()
		})
	}
}

// newHung is what a probe finds that has waited for this long.
func newHung(waited time.Duration) probes.Observation {
	o := newBroken(probes.CauseHung)
	o.Started, o.Finished = now.Add(-waited), now
	return o
}

// A new call gets the pod's own timeout, however long; one that hangs has had that already.
func TestLastProbeWaitsAsThePodAsks(t *testing.T) {
	for name, tc := range map[string]struct {
		cause   probes.Cause
		timeout string
		want    time.Duration
	}{
		"as by default":  {probes.CauseDisconnected, "5", 5 * time.Second},
		"for long":       {probes.CauseIOError, "60", time.Minute},
		"hangs already":  {probes.CauseHung, "60", confirmTimeout},
		"hangs, briefly": {probes.CauseHung, "1", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t, annotate(config.AnnotationTimeoutSeconds, tc.timeout), annotate(config.AnnotationHangSeconds, "120"))
			s.setCause(tc.cause)
			s.fakes.lastProbe = &probes.Observation{Health: probes.Healthy}
			s.requireResult(s.remediate(), controllers.OutcomeHealthy, config.ActionEvict, "")
			if s.fakes.probeTimeout != tc.want {
				t.Errorf("waited for %s, want %s", s.fakes.probeTimeout, tc.want)
			}
		})
	}
}

// confirmTimeout is how long the last probe waits for a hang.
const confirmTimeout = 3 * time.Second

// If the cause may be the backend's, the replacement must be healthy for longer than the failure
// took to show.
func TestAReplacementMustProveItself(t *testing.T) {
	for name, tc := range map[string]struct {
		cause probes.Cause
		shown time.Duration // from the first broken observation until the failure was confirmed
		want  time.Duration
	}{
		"a dead daemon":           {probes.CauseDisconnected, time.Hour, 0},
		"not mounted":             {probes.CauseNotMounted, time.Hour, 0},
		"by design no more":       {probes.CauseReadOnly, time.Hour, 0},
		"hung as by default":      {probes.CauseHung, 40 * time.Second, 105 * time.Second}, // 40 s and two periods of 10 s, then a hang again
		"hung for long":           {probes.CauseHung, 300500 * time.Millisecond, 346 * time.Second},
		"errors":                  {probes.CauseIOError, 20 * time.Second, 105 * time.Second},
		"a canary that was there": {probes.CauseCanaryFailed, 20 * time.Second, 105 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			s.setCause(tc.cause)
			failure := &s.request.Decision.Failures[0]
			failure.Since, failure.Confirmed = now.Add(-tc.shown), now
			if tc.cause == probes.CauseHung {
				o := newHung(tc.shown)
				s.fakes.lastProbe = &o
			}
			s.requireEvicted()
			if got := time.Duration(s.fakes.followed[0].WellFor) * time.Second; got != tc.want {
				t.Errorf("must be well for %s, want %s", got, tc.want)
			}
		})
	}
}

type slowLedger struct {
	scenario *scenario
	holds    time.Duration
	takes    time.Duration
}

func (s slowLedger) Refuse(context.Context, ledger.Ask) (*ledger.Refusal, error) { return nil, nil }
func (s slowLedger) Release(context.Context, types.UID, time.Time) error         { return nil }
func (s slowLedger) Reserve(context.Context, ledger.Ask) (time.Duration, *ledger.Refusal, error) {
	s.scenario.elapsed += s.takes
	s.scenario.fakes.lastProbe = &probes.Observation{Health: probes.Healthy}
	return s.holds, nil, nil
}

// The API server is slow: the owner's Lease takes up to 5 s, the ledger up to three reads and
// writes of 5 s each, and as much again for each pod that is queued before. The mount recovers
// meanwhile.
func TestTheLastProbeMustNotBeOld(t *testing.T) {
	s := newScenario(t)
	s.fakes.lastProbe = nil
	o := s.newRemediator(server.Config).Options
	o.Ledger = slowLedger{s, ledger.ActWithin, 35 * time.Second}
	got := remediate.New(o).Remediate(apitest.Context(t), s.request)
	if got.Outcome.Removed() {
		t.Errorf("%s on a probe of 35 s ago; the mount is healthy", got.Outcome)
	}
}

// A timeout of 300 s is allowed. Somebody opts the pod out while the last probe waits.
func TestWhatChangesDuringTheLastProbe(t *testing.T) {
	s := newScenario(t, annotate(config.AnnotationTimeoutSeconds, "300"), annotate(config.AnnotationHangSeconds, "300"))
	s.setCause(probes.CauseIOError)
	o := s.newRemediator(server.Config).Options
	o.Node = &slowNode{&s.fakes, func() {
		s.elapsed += 299 * time.Second
		server.Change(t, s.pod, annotate(config.AnnotationMode, "Report"))
		s.fakes.paused = map[string]string{"Node/" + s.config.NodeName: "stop!"}
	}}
	got := remediate.New(o).Remediate(apitest.Context(t), s.request)
	if got.Outcome.Removed() {
		t.Errorf("%s though the pod opted out, and its node was paused, 299 s ago", got.Outcome)
	}
}

type slowNode struct {
	*fakes
	during func()
}

func (n *slowNode) Probe(ctx context.Context, p probes.Pod, timeout time.Duration) []probes.Observation {
	n.during()
	return n.fakes.Probe(ctx, p, timeout)
}

// A reservation whose time is over is no longer refused, and given back, before the act.
func TestAReservationThatIsOver(t *testing.T) {
	s := newScenario(t)
	o := s.newRemediator(server.Config).Options
	o.Ledger = slowLedger{s, 0, 0}
	got := remediate.New(o).Remediate(apitest.Context(t), s.request)
	if got.Held != controllers.HeldNotConfirmed {
		t.Errorf("%s: %s", got.Held, got.Message)
	}
}
