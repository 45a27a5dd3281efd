package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers"
)

func TestBudgets(t *testing.T) {
	whole := span(time.Minute)
	for name, tc := range map[string]struct {
		ledger []Entry
		want   controllers.Held
		key    string
	}{
		"nothing yet":                     {nil, "", ""},
		"one below the node's":            {[]Entry{entry("b", onNode)}, "", ""},
		"the node's is spent":             {[]Entry{entry("b", onNode), entry("c", onNode)}, controllers.HeldRateLimit, "budgets.node"},
		"what has ended counts as well":   {[]Entry{entry("b", onNode, ended("Healed")), entry("c", onNode, ended("NoSuccessor"))}, controllers.HeldRateLimit, "budgets.node"},
		"the window is over for one":      {[]Entry{entry("b", onNode, at(whole)), entry("c", onNode)}, "", ""},
		"a moment before":                 {[]Entry{entry("b", onNode, at(whole-time.Millisecond)), entry("c", onNode)}, controllers.HeldRateLimit, "budgets.node"},
		"an act may be later than noted":  {[]Entry{entry("b", onNode, at(time.Minute+ActWithin)), entry("c", onNode)}, controllers.HeldRateLimit, "budgets.node"},
		"a clock that is ahead":           {[]Entry{entry("b", onNode, at(-time.Minute)), entry("c", onNode)}, controllers.HeldRateLimit, "budgets.node"},
		"other nodes":                     {[]Entry{entry("b"), entry("c"), entry("d"), entry("e")}, "", ""},
		"one below the namespace's":       {[]Entry{entry("b", inNamespace), entry("c", inNamespace)}, "", ""},
		"the namespace's is spent":        {[]Entry{entry("b", inNamespace), entry("c", inNamespace), entry("d", inNamespace)}, controllers.HeldRateLimit, "budgets.namespace"},
		"the cluster's is spent":          {[]Entry{entry("b"), entry("c"), entry("d"), entry("e"), entry("f")}, controllers.HeldRateLimit, "budgets.cluster"},
		"its own entry is not against it": {[]Entry{entry("b", onNode), entry("x-uid", onNode)}, "", ""},
	} {
		got := entries(tc.ledger...).admit(ask(), settings(), now)
		t.Run(name, func(t *testing.T) {
			requireHeld(t, got, tc.want)
			if got != nil && !strings.Contains(got.Message, tc.key+" allows") {
				t.Errorf("%q does not name %s", got.Message, tc.key)
			}
		})
	}
}

func TestBudgetsSayWhenToAskAgain(t *testing.T) {
	s := entries(entry("b", onNode, at(50*time.Second)), entry("c", onNode, at(20*time.Second)), entry("d", onNode, at(40*time.Second)))
	got := s.admit(ask(), settings(), now)
	if want := span(time.Minute) - 40*time.Second; got == nil || got.RetryAfter != want {
		t.Errorf("%+v, want to be asked again in %s, when only one of two is left in the window", got, want)
	}
}

func TestALedgerIsBounded(t *testing.T) {
	s := entries()
	for i := range maxEntries {
		s.Entries = append(s.Entries, entry(fmt.Sprint("p", i), at(time.Hour)))
	}
	requireHeld(t, s.admit(ask(), settings(), now), controllers.HeldRateLimit)
}

// Whoever asks, whenever, and however long each takes to act: no window of acts holds more than the budget.
func TestNoWindowHoldsMoreThanTheBudget(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	cfg, s := settings(), entries()
	clock := now
	var acts []time.Time
	for i := range 4000 {
		clock = clock.Add(time.Duration(random.IntN(6000)) * time.Millisecond)
		a := ask(func(a *Ask) {
			a.Node, a.Namespace, a.PodUID = fmt.Sprint("n", random.IntN(9)), fmt.Sprint("ns", random.IntN(9)), types.UID(fmt.Sprint(i))
			a.Owner.UID, a.Backend = types.UID(fmt.Sprint(i)), fmt.Sprint(i)
		})
		s = s.pruned(cfg, clock)
		if s.admit(a, cfg, clock) != nil {
			continue
		}
		a.At = clock
		s.Entries = append(s.Entries, a.Entry)
		acts = append(acts, clock.Add(rand.N(ActWithin)))
		if random.IntN(2) == 0 {
			s.Entries[len(s.Entries)-1] = s.end(a.Entry, controllers.AftermathHealed, clock)
		}
	}
	slices.SortFunc(acts, time.Time.Compare)
	for i := cfg.Budgets.Cluster; i < len(acts); i++ {
		if took := acts[i].Sub(acts[i-cfg.Budgets.Cluster]); took <= cfg.Budgets.Window() {
			t.Fatalf("seed %d: %d acts within %s", seed, cfg.Budgets.Cluster+1, took)
		}
	}
	if len(acts) < 200 {
		t.Errorf("seed %d: only %d acts in %s: the budget is not used", seed, len(acts), clock.Sub(now))
	}
}

func TestOneOfAnOwnerAtATime(t *testing.T) {
	for name, tc := range map[string]struct {
		ledger Entry
		device string
		want   controllers.Held
	}{
		"another pod is under way":            {entry("b", ofOwner), "", controllers.HeldOwnerBusy},
		"for long":                            {entry("b", ofOwner, at(5*time.Minute)), "", controllers.HeldOwnerBusy},
		"it has ended":                        {entry("b", ofOwner, ended("Healed")), "", ""},
		"it has ended badly":                  {entry("b", ofOwner, ended("StillBroken")), "", ""},
		"a pod of another owner":              {entry("b"), "", ""},
		"itself":                              {entry("x-uid", ofOwner), "", ""},
		"the same shared mount":               {entry("b", ofOwner, sharing("0:9", "node-1")), "0:9", ""},
		"another shared mount":                {entry("b", ofOwner, sharing("0:8", "node-1")), "0:9", controllers.HeldOwnerBusy},
		"a device of that number on another":  {entry("b", ofOwner, sharing("0:9", "node-2")), "0:9", controllers.HeldOwnerBusy},
		"neither shares a mount":              {entry("b", ofOwner, onNode), "", controllers.HeldOwnerBusy},
		"the other one only shares its mount": {entry("b", ofOwner, sharing("0:9", "node-1")), "", controllers.HeldOwnerBusy},
	} {
		t.Run(name, func(t *testing.T) {
			requireHeld(t, entries(tc.ledger).admit(ask(func(a *Ask) { a.Case = tc.device }), settings(), now), tc.want)
		})
	}
}

func TestPruned(t *testing.T) {
	cfg := settings()
	late := expiry(cfg, entry("b"))
	for name, tc := range map[string]struct {
		entry Entry
		kept  bool
		fails int
	}{
		"under way":                           {entry("b"), true, 0},
		"under way for long":                  {entry("b", at(late)), true, 0},
		"nobody told its end":                 {entry("b", at(late+time.Second)), false, 1},
		"ended within the window":             {entry("b", ended("Healed")), true, 0},
		"ended, and the window is over":       {entry("b", at(span(time.Minute)+time.Second), ended("Healed")), false, 0},
		"ended badly, and the window is over": {entry("b", at(span(time.Minute)+time.Second), ended("StillBroken")), false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := entries(tc.entry).pruned(cfg, now)
			if kept := len(got.Entries) == 1; kept != tc.kept {
				t.Errorf("kept: %t", kept)
			}
			if fails := got.Trials[tc.entry.Backend].Failures; fails != tc.fails {
				t.Errorf("%d failures of the backend, want %d", fails, tc.fails)
			}
		})
	}
}

// Nobody writes while all are refused: what was late once may be read for hours, and its backend's cooldown is over all the same.
func TestWhatIsLateHasEndedOnce(t *testing.T) {
	cfg := settings()
	left := entries(entry("b", ofBackend))
	end := left.Entries[0].At.Add(expiry(cfg, left.Entries[0]))
	for after, want := range map[time.Duration]controllers.Held{
		time.Second: controllers.HeldBackendStorm, 29 * time.Second: controllers.HeldBackendStorm, 30 * time.Second: "", time.Hour: "",
	} {
		at := end.Add(after)
		requireHeld(t, left.pruned(cfg, at).pruned(cfg, at).admit(ask(), cfg, at), want)
	}
	healed := entries(entry("b", ofBackend))
	healed.Trials["CSI/driver"] = Trial{HealedAt: end.Add(time.Second)}
	if trial := healed.pruned(cfg, end.Add(time.Minute)).Trials["CSI/driver"]; trial.failing() {
		t.Errorf("%+v: what was late before another one healed says no more", trial)
	}
}

// The state that was given is never changed: a copy is kept while the API server is asked.
func TestPureFunctionsChangeNothing(t *testing.T) {
	s := entries(entry("b"), entry("x-uid"), entry("c", at(time.Hour)))
	s.Trials["CSI/driver"] = Trial{Failures: 1, FailedAt: ago(time.Hour)}
	before := fmt.Sprintf("%+v", s)
	s.admit(ask(), settings(), now)
	s.pruned(settings(), now)
	s.without(ask())
	if after := fmt.Sprintf("%+v", s); after != before {
		t.Errorf("was %s, is %s", before, after)
	}
}
