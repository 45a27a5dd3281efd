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

// The last look is judged by the state machine that has found the mount failed: nothing but a mount that still is lets the pod go.
func TestLastProbe(t *testing.T) {
	looked := func(o probes.Observation) func(*world) {
		return func(w *world) { w.look = &o }
	}
	for name, tc := range map[string]struct {
		cause   probes.Cause // that was judged; "" is Disconnected
		prepare func(*world)
		outcome controllers.Outcome
		held    controllers.Held
	}{
		"recovered":        {"", looked(probes.Observation{Health: probes.Healthy}), controllers.OutcomeHealthy, ""},
		"cannot tell":      {"", looked(probes.Observation{Detail: "no turn"}), controllers.OutcomeHeld, controllers.HeldNotConfirmed},
		"does not find it": {"", func(w *world) { w.unlooked = true }, controllers.OutcomeHeld, controllers.HeldNotConfirmed},
		"as it was from the beginning": {
			probes.CauseIOError, looked(probes.Observation{Health: probes.Broken, Cause: probes.CauseReadOnly, ByDesign: true}), controllers.OutcomeHealthy, "",
		},
		"a canary that was never there": {
			probes.CauseIOError, looked(probes.Observation{Health: probes.Broken, Cause: probes.CauseCanaryFailed, ByDesign: true}),
			controllers.OutcomeHeld, controllers.HeldNotConfirmed,
		},
		"slow, its timeout is not over": {probes.CauseIOError, looked(hung(4900 * time.Millisecond)), controllers.OutcomeHeld, controllers.HeldNotConfirmed},
		"another question hangs":        {probes.CauseHung, looked(hung(3 * time.Second)), controllers.OutcomeHeld, controllers.HeldNotConfirmed},
		"broken otherwise":              {"", looked(hung(5 * time.Second)), controllers.OutcomeEvicted, ""},
		"hangs on":                      {probes.CauseHung, looked(hung(43 * time.Second)), controllers.OutcomeEvicted, ""},
		"hung, and is broken now":       {probes.CauseHung, looked(broken(probes.CauseDisconnected)), controllers.OutcomeEvicted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			if tc.cause != "" {
				l.ask(tc.cause)
			}
			tc.prepare(&l.world)
			l.requireResult(l.act(), tc.outcome, config.ActionEvict, tc.held)
			if tc.outcome.Removed() {
				return
			}
			l.requireUntouched()
			l.requireNoEntry()
			l.world.look, l.world.unlooked = nil, false
			l.requireEvicted()
		})
	}
}

// hung is what a look finds that has waited for so long.
func hung(waited time.Duration) probes.Observation {
	o := broken(probes.CauseHung)
	o.Started, o.Finished = now.Add(-waited), now
	return o
}

// A new question is given the pod's own timeout, however long; one that hangs has had that already.
func TestLastProbeWaitsAsThePodAsks(t *testing.T) {
	for name, tc := range map[string]struct {
		cause   probes.Cause
		timeout string
		want    time.Duration
	}{
		"as by default":  {probes.CauseDisconnected, "5", 5 * time.Second},
		"for long":       {probes.CauseIOError, "60", time.Minute},
		"hangs already":  {probes.CauseHung, "60", confirmWithin},
		"hangs, briefly": {probes.CauseHung, "1", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, annotate(config.AnnotationTimeoutSeconds, tc.timeout), annotate(config.AnnotationHangSeconds, "120"))
			l.ask(tc.cause)
			l.world.look = &probes.Observation{Health: probes.Healthy}
			l.requireResult(l.act(), controllers.OutcomeHealthy, config.ActionEvict, "")
			if l.world.waited != tc.want {
				t.Errorf("waited for %s, want %s", l.world.waited, tc.want)
			}
		})
	}
}

// confirmWithin is for how long a hang is waited for once more.
const confirmWithin = 3 * time.Second

// A removal whose cause may be the backend's says for how long its replacement must be well: for longer than the failure took to show.
func TestAReplacementMustProveItself(t *testing.T) {
	for name, tc := range map[string]struct {
		cause probes.Cause
		shown time.Duration // from the first broken look until it was believed
		want  time.Duration
	}{
		"a dead daemon":           {probes.CauseDisconnected, time.Hour, 0},
		"not mounted":             {probes.CauseNotMounted, time.Hour, 0},
		"by design no more":       {probes.CauseReadOnly, time.Hour, 0},
		"hung as by default":      {probes.CauseHung, 40 * time.Second, 105 * time.Second}, // hang 40 s and two periods of 10 s; then as long again as a hang takes
		"hung for long":           {probes.CauseHung, 300500 * time.Millisecond, 346 * time.Second},
		"errors":                  {probes.CauseIOError, 20 * time.Second, 105 * time.Second},
		"a canary that was there": {probes.CauseCanaryFailed, 20 * time.Second, 105 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.ask(tc.cause)
			failure := &l.request.Decision.Failures[0]
			failure.Since, failure.Confirmed = now.Add(-tc.shown), now
			if tc.cause == probes.CauseHung {
				o := hung(tc.shown)
				l.world.look = &o
			}
			l.requireEvicted()
			if got := time.Duration(l.world.followed[0].WellFor) * time.Second; got != tc.want {
				t.Errorf("must be well for %s, want %s", got, tc.want)
			}
		})
	}
}

type slowLedger struct {
	l     *lab
	holds time.Duration
	takes time.Duration
}

func (s slowLedger) Refuse(context.Context, ledger.Ask) (*ledger.Refusal, error) { return nil, nil }
func (s slowLedger) Release(context.Context, types.UID, time.Time) error         { return nil }
func (s slowLedger) Reserve(context.Context, ledger.Ask) (time.Duration, *ledger.Refusal, error) {
	s.l.later += s.takes
	s.l.world.look = &probes.Observation{Health: probes.Healthy}
	return s.holds, nil, nil
}

// An API server that is slow: the owner's Lease takes up to 5 s, the ledger up to three reads and writes of 5 s each, and as much again
// for each pod in line before. The mount recovers meanwhile.
func TestTheLastProbeMustNotBeOld(t *testing.T) {
	l := newLab(t)
	l.world.look = nil
	o := l.remediator(server.Config).Options
	o.Ledger = slowLedger{l, ledger.ActWithin, 35 * time.Second}
	got := remediate.New(o).Remediate(apitest.Context(t), l.request)
	if got.Outcome.Removed() {
		t.Errorf("%s on a probe of 35 s ago; the mount is healthy", got.Outcome)
	}
}

// A timeout of 300 s is allowed. Somebody opts the pod out while the last probe waits.
func TestWhatChangesDuringTheLastProbe(t *testing.T) {
	l := newLab(t, annotate(config.AnnotationTimeoutSeconds, "300"), annotate(config.AnnotationHangSeconds, "300"))
	l.ask(probes.CauseIOError)
	o := l.remediator(server.Config).Options
	o.Node = &slowNode{&l.world, func() {
		l.later += 299 * time.Second
		server.Change(t, l.pod, annotate(config.AnnotationMode, "Report"))
		l.world.paused = map[string]string{"Node/" + l.config.NodeName: "stop!"}
	}}
	got := remediate.New(o).Remediate(apitest.Context(t), l.request)
	if got.Outcome.Removed() {
		t.Errorf("%s though the pod opted out, and its node was paused, 299 s ago", got.Outcome)
	}
}

type slowNode struct {
	*world
	during func()
}

func (n *slowNode) Probe(ctx context.Context, p probes.Pod, timeout time.Duration) []probes.Observation {
	n.during()
	return n.world.Probe(ctx, p, timeout)
}

// A reservation whose time is over is no longer refused, and given back, before the act.
func TestAReservationThatIsOver(t *testing.T) {
	l := newLab(t)
	o := l.remediator(server.Config).Options
	o.Ledger = slowLedger{l, 0, 0}
	got := remediate.New(o).Remediate(apitest.Context(t), l.request)
	if got.Held != controllers.HeldNotConfirmed {
		t.Errorf("%s: %s", got.Held, got.Message)
	}
}
