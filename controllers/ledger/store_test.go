package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/probes"
)

// wire is between a Store and the API server: it counts, and may cut.
type wire struct {
	calls, writes atomic.Int32
	silent        atomic.Bool                                             // the API server answers nothing
	cut           func(write int32, r *http.Request) (before, after bool) // whether to fail before or after the API server saw the n-th write
}

var errCut = errors.New("the connection is cut")

func (w *wire) client(t *testing.T) kubernetes.Interface {
	t.Helper()
	cfg := rest.CopyConfig(server.Config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { return w.pass(next, r) })
	})
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (w *wire) pass(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	w.calls.Add(1)
	if w.silent.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if r.Method == http.MethodGet || w.cut == nil {
		return next.RoundTrip(r)
	}
	before, after := w.cut(w.writes.Add(1), r)
	if before {
		return nil, errCut
	}
	answer, err := next.RoundTrip(r)
	if after && err == nil {
		_ = answer.Body.Close()
		return nil, errCut
	}
	return answer, err
}

// agents share one namespace of Leases.
type agents struct {
	t         *testing.T
	namespace string
	change    func(*config.Config)
}

func newAgents(t *testing.T) *agents {
	t.Helper()
	server.Require(t)
	t.Parallel()
	return &agents{t: t, namespace: server.Namespace(t, nil), change: func(*config.Config) {}}
}

// store is that of the agent on a node.
func (a *agents) store(node string, w *wire, clock func() time.Time) *Store {
	a.t.Helper()
	cfg := settings()
	cfg.NodeName, cfg.Namespace = node, a.namespace
	a.change(&cfg)
	return NewStore(w.client(a.t), cfg, clock)
}

func (a *agents) leases() []coordinationv1.Lease {
	a.t.Helper()
	list, err := server.Client.CoordinationV1().Leases(a.namespace).List(a.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=mountwarden"})
	if err != nil {
		a.t.Fatal(err)
	}
	return list.Items
}

// ledger reads what the API server has.
func (a *agents) ledger() State {
	a.t.Helper()
	s := a.store("reader", &wire{}, still)
	if err := s.refresh(a.t.Context(), 0); err != nil {
		a.t.Fatal(err)
	}
	return s.state()
}

func still() time.Time { return now }

func (a *agents) reserve(s *Store, ask Ask, want controllers.Held) {
	a.t.Helper()
	_, refusal, err := s.Reserve(a.t.Context(), ask)
	if err != nil {
		a.t.Fatal(err)
	}
	requireHeld(a.t, refusal, want)
}

func another(name string) Ask {
	return ask(func(a *Ask) {
		a.Pod, a.PodUID, a.Backend = name, types.UID(name), "CSI/"+name
		a.Owner = Owner{"ReplicaSet", "of-" + name, types.UID("of-" + name)}
	})
}

func TestReserveIsSeenByAll(t *testing.T) {
	a := newAgents(t)
	one, two := a.store("node-1", &wire{}, still), a.store("node-2", &wire{}, still)
	a.reserve(one, ask(), "")
	a.reserve(two, ask(func(a *Ask) { a.Node, a.Pod, a.PodUID = "node-2", "y", "y-uid" }), controllers.HeldOwnerBusy)
	if err := one.Close(t.Context(), ask().Entry, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	two.read = time.Time{} // its copy is out of date
	a.reserve(two, ask(func(a *Ask) { a.Node, a.Pod, a.PodUID = "node-2", "y", "y-uid" }), "")
	if s := a.ledger(); len(s.Entries) != 2 || s.Trials["CSI/driver"].HealedAt.IsZero() {
		t.Errorf("%+v", s)
	}
}

// At rest nothing is asked; a removal costs two reads and two writes, its end one write.
func TestCallsOfAReservation(t *testing.T) {
	a := newAgents(t)
	w := &wire{}
	s := a.store("node-1", w, still)
	if w.calls.Load() != 0 {
		t.Errorf("%d calls before anything failed", w.calls.Load())
	}
	if refusal, err := s.Refuse(t.Context(), ask()); refusal != nil || err != nil {
		t.Fatal(refusal, err)
	}
	a.reserve(s, ask(), "")
	if n := w.calls.Load(); n > 4 {
		t.Errorf("%d calls to reserve, want 4: ledger and owner, each read and written", n)
	}
	s.read = s.read.Add(-time.Hour) // nobody else has changed it
	before := w.calls.Load()
	if err := s.Close(t.Context(), ask().Entry, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	if n := w.calls.Load() - before; n != 1 {
		t.Errorf("%d calls to close, want 1", n)
	}
	before = w.calls.Load()
	for range 10 {
		if _, err := s.Refuse(t.Context(), ask()); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.calls.Load() - before; n != 0 {
		t.Errorf("%d calls for what a copy answers", n)
	}
}

// However many agents ask at the same time, the budget holds, and all of it is used.
func TestAgentsRace(t *testing.T) {
	a := newAgents(t)
	var granted atomic.Int32
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			node := fmt.Sprint("node-", i)
			s := a.store(node, &wire{}, still)
			_, refusal, err := s.Reserve(t.Context(), ask(func(a *Ask) {
				a.Node, a.Namespace, a.Pod, a.PodUID, a.Backend = node, node, node, types.UID(node), node
				a.Owner.UID = types.UID(node)
			}))
			for err != nil && t.Context().Err() == nil {
				_, refusal, err = s.Reserve(t.Context(), ask(func(a *Ask) {
					a.Node, a.Namespace, a.Pod, a.PodUID, a.Backend = node, node, node, types.UID(node), node
					a.Owner.UID = types.UID(node)
				}))
			}
			if refusal == nil {
				granted.Add(1)
			}
		})
	}
	all.Wait()
	if n := granted.Load(); n != 5 {
		t.Errorf("%d granted, want the cluster's 5", n)
	}
}

// Cut before or after each write: asked again, by the same agent or by its successor, the pod is granted once and counted once.
func TestCutAtEachWrite(t *testing.T) {
	for write := int32(1); write <= 2; write++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, after %t", write, after), func(t *testing.T) {
				a := newAgents(t)
				w := &wire{cut: func(n int32, _ *http.Request) (bool, bool) { return n == write && !after, n == write && after }}
				s := a.store("node-1", w, still)
				_, _, err := s.Reserve(t.Context(), ask())
				if !errors.Is(err, errCut) {
					t.Fatalf("%v, want that the cut is told", err)
				}
				a.reserve(a.store("node-1", &wire{}, still), ask(), "")
				a.reserve(s, ask(), "")
				state := a.ledger()
				if len(state.Entries) != 1 {
					t.Errorf("%d entries", len(state.Entries))
				}
				owner, err := s.owner(t.Context(), ask())
				if err != nil || owner.row.attempts != 1 {
					t.Errorf("row %+v, %v; want one attempt", owner.row, err)
				}
			})
		}
	}
}

func TestCutAtTheEnd(t *testing.T) {
	for _, after := range []bool{false, true} {
		a := &agents{t: t, change: func(*config.Config) {}}
		server.Require(t)
		a.namespace = server.Namespace(t, nil)
		w := &wire{cut: func(n int32, _ *http.Request) (bool, bool) { return n == 3 && !after, n == 3 && after }}
		s := a.store("node-1", w, still)
		a.reserve(s, ask(), "")
		if err := s.Close(t.Context(), ask().Entry, controllers.AftermathStillBroken); !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Close(t.Context(), ask().Entry, controllers.AftermathStillBroken); err != nil {
				t.Fatal(err)
			}
		}
		if n := a.ledger().Trials["CSI/driver"].Failures; n != 1 {
			t.Errorf("after %t: %d failures of the backend, want 1", after, n)
		}
	}
}

// An agent that was away for longer than anybody waited tells the end all the same, and it counts.
func TestALateEndCounts(t *testing.T) {
	a := newAgents(t)
	clock := now
	s := a.store("node-1", &wire{}, func() time.Time { return clock })
	a.reserve(s, ask(), "")
	clock = now.Add(expiry(s.config, ask().Entry) + time.Second)
	another := ask(func(a *Ask) { a.PodUID, a.Since = "y-uid", clock })
	a.reserve(s, another, controllers.HeldBackendStorm)
	if err := s.Close(t.Context(), ask().Entry, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	if trial := a.ledger().Trials["CSI/driver"]; trial.failing() || !trial.HealedAt.Equal(clock) {
		t.Errorf("%+v", trial)
	}
	a.reserve(s, another, "")
}

func TestReservationIsRenewed(t *testing.T) {
	a := newAgents(t)
	clock := now
	s := a.store("node-1", &wire{}, func() time.Time { return clock })
	a.reserve(s, ask(), "")
	clock = clock.Add(ActWithin/2 - time.Second)
	a.reserve(s, ask(), "")
	if at := a.ledger().Entries[0].At; !at.Equal(now) {
		t.Errorf("noted anew after %s, while the first note is fresh", at.Sub(now))
	}
	clock = now.Add(ActWithin)
	a.reserve(s, ask(), "")
	if at := a.ledger().Entries[0].At; !at.Equal(clock) {
		t.Errorf("not noted anew: %s", at.Sub(now))
	}
}

func TestReleaseGivesBack(t *testing.T) {
	a := newAgents(t)
	s := a.store("node-1", &wire{}, still)
	for range 4 { // twice as many as the node's budget
		a.reserve(s, ask(), "")
		if err := s.Release(t.Context(), "x-uid", time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
		if pending, err := s.Pending(t.Context()); err != nil || len(pending) != 1 {
			t.Errorf("%v %v: what was reserved at another time is not given back", pending, err)
		}
		if err := s.Release(t.Context(), "x-uid", time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Release(t.Context(), "nobody", time.Time{}); err != nil {
		t.Errorf("a pod that is not in the ledger: %v", err)
	}
	if n := len(a.ledger().Entries); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestPendingIsOfThisNode(t *testing.T) {
	a := newAgents(t)
	s := a.store("node-1", &wire{}, still)
	if own, err := s.Pending(t.Context()); err != nil || len(own) != 0 {
		t.Errorf("without a ledger: %v, %v", own, err)
	}
	a.reserve(s, ask(), "")
	a.reserve(a.store("node-2", &wire{}, still), ask(func(a *Ask) { a.Node, a.PodUID, a.Owner.UID = "node-2", "y", "y" }), "")
	ended := another("z")
	a.reserve(s, ended, "")
	if err := s.Close(t.Context(), Entry{PodUID: "z"}, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	own, err := a.store("node-1", &wire{}, still).Pending(t.Context())
	if err != nil || len(own) != 1 || own[0].PodUID != "x-uid" || !own[0].Since.Equal(ask().Since) || own[0].Grace != 30 {
		t.Errorf("%+v, %v", own, err)
	}
}

// That a replacement is up is written once, while the removal is open.
func TestMarkUp(t *testing.T) {
	a, w := newAgents(t), &wire{}
	s := a.store("node-1", w, still)
	a.reserve(s, ask(func(a *Ask) { a.Cause, a.WellFor = probes.CauseHung, 105 }), "")
	for range 3 {
		if err := s.MarkUp(t.Context(), "x-uid"); err != nil {
			t.Fatal(err)
		}
	}
	if e := a.ledger().Entries[0]; !e.Up || e.WellFor != 105 {
		t.Errorf("%+v", e)
	}
	if err := s.Close(t.Context(), ask().Entry, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	before := w.writes.Load()
	for _, uid := range []types.UID{"x-uid", "nobody"} {
		if err := s.MarkUp(t.Context(), uid); err != nil || w.writes.Load() != before {
			t.Errorf("%s: %v, %d writes", uid, err, w.writes.Load()-before)
		}
	}
}

// A replacement that is healthy after all frees its owner, and tells of its backend, be the entry there or not.
func TestCloseOfWhatHealedLate(t *testing.T) {
	for name, later := range map[string]time.Duration{"it is still written": time.Second, "it is not": time.Hour} {
		t.Run(name, func(t *testing.T) {
			a, clock := newAgents(t), now
			s := a.store("node-1", &wire{}, func() time.Time { return clock })
			a.reserve(s, ask(), "")
			removed := ask().Entry
			removed.At = now
			if err := s.Close(t.Context(), removed, controllers.AftermathStuckCreating); err != nil {
				t.Fatal(err)
			}
			a.reserve(s, ask(func(a *Ask) { a.Pod, a.PodUID, a.Backend = "y", "y-uid", "CSI/another" }), controllers.HeldBackoff)
			clock = clock.Add(later)
			for range 2 {
				if err := s.Close(t.Context(), removed, controllers.AftermathHealed); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.text; len(got.Owners) > 0 || !got.Trials["CSI/driver"].HealedAt.Equal(clock) {
				t.Errorf("%+v", got)
			}
			a.reserve(s, ask(func(a *Ask) { a.Pod, a.PodUID, a.Backend = "y", "y-uid", "CSI/another" }), "")
		})
	}
}

// What cannot be read is told, and neither granted nor overwritten.
func TestMalformedLeases(t *testing.T) {
	for name, tc := range map[string]struct {
		lease, key, value string
	}{
		"ledger":          {ledgerName, annotationLedger, `{"entries": 7}`},
		"owner's row":     {leaseName(ask().Entry), annotationAttempts, "many"},
		"owner's row, -1": {leaseName(ask().Entry), annotationAttempts, "-1"},
		"owner's start":   {leaseName(ask().Entry), annotationFirst, "yesterday"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgents(t)
			a.reserve(a.store("node-1", &wire{}, still), ask(), "")
			lease, err := server.Client.CoordinationV1().Leases(a.namespace).Get(t.Context(), tc.lease, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			lease.Annotations[tc.key] = tc.value
			lease, err = server.Client.CoordinationV1().Leases(a.namespace).Update(t.Context(), lease, metav1.UpdateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			_, refusal, err := a.store("node-1", &wire{}, still).Reserve(t.Context(), ask(func(a *Ask) { a.PodUID = "y" }))
			if refusal != nil || !errors.Is(err, ErrMalformed) {
				t.Fatalf("%+v, %v", refusal, err)
			}
			for _, part := range []string{tc.key, tc.lease, "delete the Lease"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			after, err := server.Client.CoordinationV1().Leases(a.namespace).Get(t.Context(), tc.lease, metav1.GetOptions{})
			if err != nil || after.ResourceVersion != lease.ResourceVersion {
				t.Errorf("it was overwritten, or %v", err)
			}
		})
	}
}

// A person who deletes the Leases begins anew, whatever copies the agents have.
func TestLeasesAreDeleted(t *testing.T) {
	a := newAgents(t)
	s := a.store("node-1", &wire{}, still)
	a.reserve(s, ask(), "")
	for _, l := range a.leases() {
		if err := server.Client.CoordinationV1().Leases(a.namespace).Delete(t.Context(), l.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	a.reserve(s, another("y"), "")
	if state := a.ledger(); len(state.Entries) != 1 || state.Entries[0].PodUID != "y" {
		t.Errorf("%+v", state)
	}
}

// An owner whose pods fail again and again on any node is given up by every agent, also by one that has just started. It is tried again
// after what docs/remediation.md says.
func TestARowEndsWithAPerson(t *testing.T) {
	a := newAgents(t)
	clock := now
	next := func(i int) (*Store, Ask) {
		clock = clock.Add(6 * time.Minute) // more than the longest delay
		node := fmt.Sprint("node-", i%3)
		return a.store(node, &wire{}, func() time.Time { return clock }), ask(func(a *Ask) {
			a.Node, a.Pod, a.PodUID = node, fmt.Sprint("web-", i), types.UID(fmt.Sprint("web-", i))
			a.Created, a.Since = clock.Add(-5*time.Minute-50*time.Second), clock.Add(-5*time.Minute-10*time.Second)
		})
	}
	for i := range settings().Backoff.MaxAttempts {
		s, ask := next(i)
		a.reserve(s, ask, "")
		if err := s.Close(t.Context(), ask.Entry, controllers.AftermathHealed); err != nil {
			t.Fatal(err)
		}
	}
	s, last := next(10)
	a.reserve(s, last, controllers.HeldGaveUp)
	other, _ := next(11)
	a.reserve(other, last, controllers.HeldGaveUp)
	a.reserve(other, another("y"), "") // of another owner

	byLabels := metav1.ListOptions{LabelSelector: "mountwarden.io/owner-namespace=a,mountwarden.io/owner-name=web"}
	if err := server.Client.CoordinationV1().Leases(a.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, byLabels); err != nil {
		t.Fatal(err)
	}
	a.reserve(s, last, "")
}

func TestLeasesExplainThemselves(t *testing.T) {
	a := newAgents(t)
	a.reserve(a.store("node-1", &wire{}, still), ask(func(a *Ask) { a.Owner.Name = strings.Repeat("x", 70) + "." }), "")
	leases := a.leases()
	if len(leases) != 2 {
		t.Fatalf("%d leases", len(leases))
	}
	i := slices.IndexFunc(leases, func(l coordinationv1.Lease) bool { return l.Labels["mountwarden.io/record"] == "owner" })
	l := leases[i]
	want := map[string]string{
		"app.kubernetes.io/managed-by": "mountwarden", "mountwarden.io/record": "owner", "mountwarden.io/owner-kind": "ReplicaSet",
		"mountwarden.io/owner-name": strings.Repeat("x", 63), "mountwarden.io/owner-namespace": "a",
	}
	for key, value := range want {
		if l.Labels[key] != value {
			t.Errorf("label %s is %q, want %q", key, l.Labels[key], value)
		}
	}
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity != "node-1" || l.Annotations[annotationPod] != "x" || l.Annotations[annotationBackend] != "CSI/driver" {
		t.Errorf("%+v", l)
	}
}

// The Leases of owners are deleted when they are of no use: some time after they could count, or a week where a person is needed.
func TestSweep(t *testing.T) {
	a := newAgents(t)
	clock := now
	s := a.store("node-1", &wire{}, func() time.Time { return clock })
	a.reserve(s, another("old"), "")
	clock = now.Add(keepOwner + time.Duration(s.config.Backoff.MaxSeconds+s.config.Backoff.ForgetSeconds)*time.Second)
	a.reserve(s, another("young"), "")
	stranded := another("stranded")
	a.reserve(s, stranded, "")
	name := leaseName(stranded.Entry)
	lease, err := server.Client.CoordinationV1().Leases(a.namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lease.Annotations[annotationAttempts] = "5"
	longAgo := metav1.NewMicroTime(now.Add(-5 * 24 * time.Hour))
	lease.Spec.RenewTime = &longAgo
	if _, err = server.Client.CoordinationV1().Leases(a.namespace).Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(time.Second)
	if err := s.Close(t.Context(), Entry{PodUID: "young"}, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, l := range a.leases() {
		left = append(left, l.Annotations[annotationPod])
	}
	slices.Sort(left)
	if want := []string{"", "stranded", "young"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

func TestAnAPIServerThatIsAway(t *testing.T) {
	a := newAgents(t)
	s := a.store("node-1", &wire{}, still)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, refusal, err := s.Reserve(ctx, ask()); err == nil || refusal != nil {
		t.Errorf("%+v, %v", refusal, err)
	}
	if refusal, err := s.Refuse(ctx, ask()); err == nil || refusal != nil {
		t.Errorf("%+v, %v", refusal, err)
	}
	for _, l := range a.leases() {
		if _, err := server.Client.CoordinationV1().Leases(a.namespace).Get(t.Context(), l.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s was written", l.Name)
		}
	}
}

// Pods that fail while the API server answers nothing wait for one call, and not one after the other for a call each: their mounts are to be
// looked at, and a loop that is late for long looks as if it had stalled.
func TestAnAPIServerThatAnswersNothing(t *testing.T) {
	a := newAgents(t)
	w := &wire{}
	clock := now
	s := a.store("node-1", w, func() time.Time { return clock })
	a.reserve(s, another("before"), "")
	clock = clock.Add(time.Minute)
	before := w.calls.Load()
	w.silent.Store(true)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if refusal, err := s.Refuse(t.Context(), another(fmt.Sprint("pod-", i))); err == nil || refusal != nil {
				t.Errorf("%+v, %v", refusal, err)
			}
		})
	}
	all.Wait()
	if calls := w.calls.Load() - before; calls != 1 {
		t.Errorf("%d calls for 50 pods that ask together, want 1", calls)
	}
	w.silent.Store(false)
	clock = clock.Add(copyAge)
	if refusal, err := s.Refuse(t.Context(), another("after")); refusal != nil || err != nil {
		t.Errorf("refused after the outage: %+v, %v", refusal, err)
	}
}

// The API server takes annotations of 256 KiB in all: more is refused with a reason, and what is there can still be closed.
func TestALedgerFits(t *testing.T) {
	a := newAgents(t)
	a.change = func(c *config.Config) {
		c.Budgets = config.Budgets{WindowSeconds: 60, Node: 600, Namespace: 600, Cluster: 600}
	}
	s := a.store("node-1", &wire{}, still)
	full := State{}
	long := strings.Repeat("x", 250)
	for i := 0; tooLong(full, ask(), s.config.Budgets) == nil; i++ {
		full.Entries = append(full.Entries, entry(fmt.Sprint("p", i), func(e *Entry) { e.Pod, e.Owner.Name = long, long }))
	}
	full.Entries = full.Entries[:len(full.Entries)-1]
	if err := s.change(t.Context(), copyAge, func(State, time.Time) (State, bool) { return full, true }); err != nil {
		t.Fatal(err)
	}
	a.reserve(s, ask(func(a *Ask) { a.Pod, a.Owner.Name = long, long }), controllers.HeldRateLimit)
	for _, e := range full.Entries[:20] {
		if err := s.Close(t.Context(), e, controllers.AftermathStuckTerminating); err != nil {
			t.Fatalf("%s of %d: %v", e.PodUID, len(full.Entries), err)
		}
	}
}
