package metrics_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/metrics"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 250e6, time.UTC)

// agent is what the metrics read at a scrape.
type agent struct {
	*metrics.Metrics
	registry *prometheus.Registry
	statuses []controllers.Status
	lastScan time.Time
}

func newAgent(t testing.TB) *agent {
	t.Helper()
	a := &agent{registry: prometheus.NewPedanticRegistry()}
	a.Metrics = metrics.New(a.registry)
	err := metrics.RegisterLive(a.registry, metrics.Live{
		Statuses:     func() []controllers.Status { return a.statuses },
		PodsWatched:  func() int { return 2 },
		PodsInvalid:  func() int { return 1 },
		LastScan:     func() time.Time { return a.lastScan },
		Workers:      func() int { return 3 },
		ParkedProbes: func() int { return 1 },
		Forsaken:     func() int { return 4 },
		Stuck:        func() int { return 5 },
		EventSources: func() map[string]metrics.EventSource {
			return map[string]metrics.EventSource{"mountinfo": {Available: true, Watched: 3}, "fanotify": {}}
		},
		Capabilities:  map[string]bool{"SYS_PTRACE": true, "KILL": false},
		Version:       "v1.2.3",
		KernelRelease: "6.12.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// gather scrapes. A scrape that fails is the worst that a label can do: all other series are lost
// with it.
func (a *agent) gather(t testing.TB) []*dto.MetricFamily {
	t.Helper()
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// text scrapes in the exposition format.
func (a *agent) text(t testing.TB) string {
	t.Helper()
	var text bytes.Buffer
	for _, family := range a.gather(t) {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// lines returns the lines of a scrape that start with a word.
func lines(text, start string) []string {
	found := []string{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, start) {
			found = append(found, strings.TrimSuffix(line, "\n"))
		}
	}
	return found
}

// status returns the status of a mount of the pod app.
func status(path string, phase verdict.Phase, o probes.Observation) controllers.Status {
	o.Target = probes.Target{Container: "app", Volume: "data", Path: path}
	return controllers.Status{Namespace: "default", Pod: "app", Target: o.Target, Mount: verdict.Mount{Phase: phase, Observation: o}}
}

func fuse(cause probes.Cause) probes.Observation {
	return probes.Observation{Cause: cause, FSType: "fuse.s3fs"}
}

// openCircuit is a mount that is held with many others of its backend.
func openCircuit(path, driver string) controllers.Status {
	s := status(path, verdict.Failed, fuse(probes.CauseDisconnected))
	s.Pod, s.Held, s.Backend = path[1:], controllers.HeldBackendStorm, probes.Backend{Kind: probes.BackendCSI, Name: driver}
	return s
}

// exercise has every metric show something.
func (a *agent) exercise() {
	a.lastScan = epoch
	unseen := status("/lost", verdict.Failed, fuse(probes.CauseStale))
	unseen.Mount.Unseen = 1
	held := status("/failed", verdict.Failed, fuse(probes.CauseDisconnected))
	held.Held, unseen.Held = controllers.HeldBudget, controllers.HeldBudget
	a.statuses = []controllers.Status{
		status("/healthy", verdict.Healthy, probes.Observation{FSType: "nfs4", Warning: probes.WarningNoSpace}),
		status("/suspect", verdict.Suspect, fuse(probes.CauseHung)),
		status("/new", verdict.Unjudged, probes.Observation{}),
		held, unseen, openCircuit("/one", "a.example"), openCircuit("/two", "a.example"), openCircuit("/three", "b.example"),
	}
	look := probes.Observation{Health: probes.Healthy, FSType: "nfs4", Operation: probes.OpStatx, Started: epoch, Finished: epoch.Add(time.Millisecond)}
	a.Observed(look)
	look.Health, look.Cause, look.Finished = probes.Broken, probes.CauseHung, epoch.Add(5*time.Second)
	a.Observed(look)
	a.Observed(probes.Observation{Detail: "no process"})
	a.Detected(verdict.Failure{Observation: fuse(probes.CauseDisconnected), Since: epoch, Confirmed: epoch.Add(1500 * time.Millisecond)}, probes.TriggerFUSEDaemon)
	a.Remediated(probes.CauseDisconnected, controllers.Result{Action: config.ActionEvict, Outcome: controllers.OutcomeEvicted})
	a.Remediated(probes.CauseDisconnected, controllers.Result{Action: config.ActionEvict, Outcome: controllers.OutcomeHeld, Held: controllers.HeldPaused})
	a.Ended(controllers.AftermathHealed)
	a.Took(controllers.PhaseAct, 1500*time.Millisecond)
	a.Took(controllers.PhaseHeal, 12*time.Second)
	a.Took(controllers.PhaseHeal, -time.Second) // by a clock that is ahead
}
