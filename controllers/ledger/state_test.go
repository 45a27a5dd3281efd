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
	whole := countedFor(time.Minute)
	for name, tc := range map[string]struct {
		ledger []Entry
		want   controllers.Held
		key    string
	}{
		"nothing yet":                     {nil, "", ""},
		"one below the node's":            {[]Entry{newEntry("b", withNode)}, "", ""},
		"the node's is spent":             {[]Entry{newEntry("b", withNode), newEntry("c", withNode)}, controllers.HeldRateLimit, "budgets.node"},
		"what has ended counts as well":   {[]Entry{newEntry("b", withNode, withAftermath("Healed")), newEntry("c", withNode, withAftermath("NoSuccessor"))}, controllers.HeldRateLimit, "budgets.node"},
		"the window is over for one":      {[]Entry{newEntry("b", withNode, reservedAgo(whole)), newEntry("c", withNode)}, "", ""},
		"a moment before":                 {[]Entry{newEntry("b", withNode, reservedAgo(whole-time.Millisecond)), newEntry("c", withNode)}, controllers.HeldRateLimit, "budgets.node"},
		"an act may be later than noted":  {[]Entry{newEntry("b", withNode, reservedAgo(time.Minute+ActWithin)), newEntry("c", withNode)}, controllers.HeldRateLimit, "budgets.node"},
		"a clock that is ahead":           {[]Entry{newEntry("b", withNode, reservedAgo(-time.Minute)), newEntry("c", withNode)}, controllers.HeldRateLimit, "budgets.node"},
		"other nodes":                     {[]Entry{newEntry("b"), newEntry("c"), newEntry("d"), newEntry("e")}, "", ""},
		"one below the namespace's":       {[]Entry{newEntry("b", withNamespace), newEntry("c", withNamespace)}, "", ""},
		"the namespace's is spent":        {[]Entry{newEntry("b", withNamespace), newEntry("c", withNamespace), newEntry("d", withNamespace)}, controllers.HeldRateLimit, "budgets.namespace"},
		"the cluster's is spent":          {[]Entry{newEntry("b"), newEntry("c"), newEntry("d"), newEntry("e"), newEntry("f")}, controllers.HeldRateLimit, "budgets.cluster"},
		"its own entry is not against it": {[]Entry{newEntry("b", withNode), newEntry("x-uid", withNode)}, "", ""},
	} {
		got := newState(tc.ledger...).checkAsk(newAsk(), testConfig(), now)
		t.Run(name, func(t *testing.T) {
			requireHeld(t, got, tc.want)
			if got != nil && !strings.Contains(got.Message, tc.key+" allows") {
				t.Errorf("%q does not name %s", got.Message, tc.key)
			}
		})
	}
}

func TestBudgetsSayWhenToAskAgain(t *testing.T) {
	s := newState(newEntry("b", withNode, reservedAgo(50*time.Second)), newEntry("c", withNode, reservedAgo(20*time.Second)), newEntry("d", withNode, reservedAgo(40*time.Second)))
	got := s.checkAsk(newAsk(), testConfig(), now)
	if want := countedFor(time.Minute) - 40*time.Second; got == nil || got.RetryAfter != want {
		t.Errorf("%+v, want to be asked again in %s, when only one of two is left in the window", got, want)
	}
}

func TestALedgerIsBounded(t *testing.T) {
	s := newState()
	for i := range maxEntries {
		s.Entries = append(s.Entries, newEntry(fmt.Sprint("p", i), reservedAgo(time.Hour)))
	}
	requireHeld(t, s.checkAsk(newAsk(), testConfig(), now), controllers.HeldRateLimit)
}

// Whichever agent asks, whenever, and however long each takes to act: no window holds more
// evictions than the budget.
func TestNoWindowHoldsMoreThanTheBudget(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	cfg, s := testConfig(), newState()
	clock := now
	var acts []time.Time
	for i := range 4000 {
		clock = clock.Add(time.Duration(random.IntN(6000)) * time.Millisecond)
		a := newAsk(func(a *Ask) {
			a.Node, a.Namespace, a.PodUID = fmt.Sprint("n", random.IntN(9)), fmt.Sprint("ns", random.IntN(9)), types.UID(fmt.Sprint(i))
			a.Owner.UID, a.Backend = types.UID(fmt.Sprint(i)), fmt.Sprint(i)
		})
		s = s.prune(cfg, clock)
		if s.checkAsk(a, cfg, clock) != nil {
			continue
		}
		a.At = clock
		s.Entries = append(s.Entries, a.Entry)
		acts = append(acts, clock.Add(rand.N(ActWithin)))
		if random.IntN(2) == 0 {
			s.Entries[len(s.Entries)-1] = s.closeEntry(a.Entry, controllers.AftermathHealed, clock)
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
		"another pod is under way":            {newEntry("b", withOwner), "", controllers.HeldOwnerBusy},
		"for long":                            {newEntry("b", withOwner, reservedAgo(5*time.Minute)), "", controllers.HeldOwnerBusy},
		"it has ended":                        {newEntry("b", withOwner, withAftermath("Healed")), "", ""},
		"it has ended badly":                  {newEntry("b", withOwner, withAftermath("StillBroken")), "", ""},
		"a pod of another owner":              {newEntry("b"), "", ""},
		"itself":                              {newEntry("x-uid", withOwner), "", ""},
		"the same shared mount":               {newEntry("b", withOwner, withSharedMount("0:9", "node-1")), "0:9", ""},
		"another shared mount":                {newEntry("b", withOwner, withSharedMount("0:8", "node-1")), "0:9", controllers.HeldOwnerBusy},
		"a device of that number on another":  {newEntry("b", withOwner, withSharedMount("0:9", "node-2")), "0:9", controllers.HeldOwnerBusy},
		"neither shares a mount":              {newEntry("b", withOwner, withNode), "", controllers.HeldOwnerBusy},
		"the other one only shares its mount": {newEntry("b", withOwner, withSharedMount("0:9", "node-1")), "", controllers.HeldOwnerBusy},
	} {
		t.Run(name, func(t *testing.T) {
			requireHeld(t, newState(tc.ledger).checkAsk(newAsk(func(a *Ask) { a.Case = tc.device }), testConfig(), now), tc.want)
		})
	}
}

func TestPrune(t *testing.T) {
	cfg := testConfig()
	late := followUpTimeout(cfg, newEntry("b"))
	for name, tc := range map[string]struct {
		entry Entry
		kept  bool
		fails int
	}{
		"under way":                           {newEntry("b"), true, 0},
		"under way for long":                  {newEntry("b", reservedAgo(late)), true, 0},
		"nobody told its end":                 {newEntry("b", reservedAgo(late+time.Second)), false, 1},
		"ended within the window":             {newEntry("b", withAftermath("Healed")), true, 0},
		"ended, and the window is over":       {newEntry("b", reservedAgo(countedFor(time.Minute)+time.Second), withAftermath("Healed")), false, 0},
		"ended badly, and the window is over": {newEntry("b", reservedAgo(countedFor(time.Minute)+time.Second), withAftermath("StillBroken")), false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := newState(tc.entry).prune(cfg, now)
			if kept := len(got.Entries) == 1; kept != tc.kept {
				t.Errorf("kept: %t", kept)
			}
			if fails := got.Trials[tc.entry.Backend].Failures; fails != tc.fails {
				t.Errorf("%d failures of the backend, want %d", fails, tc.fails)
			}
		})
	}
}

// Nobody writes while all are refused: a late entry may be read for hours, and the cooldown of its
// backend ends in spite of that.
func TestWhatIsLateHasEndedOnce(t *testing.T) {
	cfg := testConfig()
	left := newState(newEntry("b", withBackend))
	end := left.Entries[0].At.Add(followUpTimeout(cfg, left.Entries[0]))
	for after, want := range map[time.Duration]controllers.Held{
		time.Second: controllers.HeldBackendStorm, 29 * time.Second: controllers.HeldBackendStorm, 30 * time.Second: "", time.Hour: "",
	} {
		at := end.Add(after)
		requireHeld(t, left.prune(cfg, at).prune(cfg, at).checkAsk(newAsk(), cfg, at), want)
	}
	healed := newState(newEntry("b", withBackend))
	healed.Trials["CSI/driver"] = Trial{HealedAt: end.Add(time.Second)}
	if trial := healed.prune(cfg, end.Add(time.Minute)).Trials["CSI/driver"]; trial.isFailing() {
		t.Errorf("%+v: what was late before another one healed says no more", trial)
	}
}

// The state that was given is never changed: a copy is kept while the API server is asked.
func TestPureFunctionsChangeNothing(t *testing.T) {
	s := newState(newEntry("b"), newEntry("x-uid"), newEntry("c", reservedAgo(time.Hour)))
	s.Trials["CSI/driver"] = Trial{Failures: 1, FailedAt: ago(time.Hour)}
	before := fmt.Sprintf("%+v", s)
	s.checkAsk(newAsk(), testConfig(), now)
	s.prune(testConfig(), now)
	s.withoutPod(newAsk())
	if after := fmt.Sprintf("%+v", s); after != before {
		t.Errorf("was %s, is %s", before, after)
	}
}
