package ledger

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
)

var server apitest.Server

func TestMain(m *testing.M) { server.Main(m) }

// now is what the API server's clock shows.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// ago returns a time before now.
func ago(d time.Duration) time.Time { return now.Add(-d) }

// testConfig has budgets that are small enough to count by hand: 2 a node, 3 a namespace and 5 in
// all within a minute. The circuit breaker opens from 3 failures on.
func testConfig() config.Config {
	cfg := config.Default()
	cfg.NodeName, cfg.Namespace = "node-1", "mountwarden"
	cfg.Budgets = config.Budgets{WindowSeconds: 60, Node: 2, Namespace: 3, Cluster: 5}
	cfg.Storm = config.Storm{Threshold: 3, CooldownSeconds: 30}
	return cfg
}

// newAsk asks for the pod x of node-1 in the namespace a, broken for a minute and created an hour
// ago. Unless changed, it was healthy in between.
func newAsk(change ...func(*Ask)) Ask {
	a := Ask{
		Entry: Entry{
			Node: "node-1", Namespace: "a", Pod: "x", PodUID: "x-uid", Owner: Owner{Kind: "ReplicaSet", Name: "web", UID: "web-uid"},
			Backend: "CSI/driver", Since: ago(time.Minute), Grace: 30,
		},
		Failing: 1, Created: ago(time.Hour), Healthy: -1,
	}
	for _, c := range change {
		c(&a)
	}
	if a.Healthy < 0 {
		a.Healthy = a.Since.Sub(a.Created)
	}
	return a
}

// newEntry is an eviction of ten seconds ago that has nothing in common with newAsk, unless
// changed.
func newEntry(name string, change ...func(*Entry)) Entry {
	e := Entry{
		At: ago(10 * time.Second), Node: "node-" + name, Namespace: name, Pod: name, PodUID: types.UID(name),
		Owner: Owner{Kind: "ReplicaSet", Name: name, UID: types.UID("owner-" + name)}, Backend: "CSI/other-" + name, Grace: 30,
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func reservedAgo(age time.Duration) func(*Entry)         { return func(e *Entry) { e.At = ago(age) } }
func withNode(e *Entry)                                  { e.Node = "node-1" }
func withNamespace(e *Entry)                             { e.Namespace = "a" }
func withOwner(e *Entry)                                 { e.Namespace, e.Owner.UID = "a", "web-uid" }
func withBackend(e *Entry)                               { e.Backend = "CSI/driver" }
func withAftermath(a controllers.Aftermath) func(*Entry) { return func(e *Entry) { e.Aftermath = a } }
func withSharedMount(device, node string) func(*Entry) {
	return func(e *Entry) { e.Case, e.Node = device, node }
}

func newState(all ...Entry) State {
	return State{Entries: all, Trials: map[string]Trial{}, Owners: map[string]Trial{}}
}

func requireHeld(t *testing.T, got *Refusal, want controllers.Held) {
	t.Helper()
	switch {
	case got == nil && want == controllers.HeldNone:
	case got == nil:
		t.Errorf("granted, want %s", want)
	case got.Held != want:
		t.Errorf("refused with %s (%s), want %q", got.Held, got.Message, want)
	case got.RetryAfter <= 0 || got.Message == "":
		t.Errorf("a refusal that does not say why, or when to ask again: %+v", got)
	}
}
