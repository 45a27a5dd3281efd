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

// faultyTransport is between a Store and the API server. It counts calls, and may cut them.
type faultyTransport struct {
	calls, writes atomic.Int32
	silent        atomic.Bool // the API server answers nothing
	// cut says whether to fail before or after the API server saw the n-th write.
	cut func(write int32, r *http.Request) (before, after bool)
}

var errCut = errors.New("the connection is cut")

func (w *faultyTransport) client(t *testing.T) kubernetes.Interface {
	t.Helper()
	cfg := rest.CopyConfig(server.Config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { return w.roundTrip(next, r) })
	})
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (w *faultyTransport) roundTrip(next http.RoundTripper, r *http.Request) (*http.Response, error) {
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

// sharedLedger is the ledger of several agents, in one namespace of Leases.
type sharedLedger struct {
	t         *testing.T
	namespace string
	change    func(*config.Config)
}

func newSharedLedger(t *testing.T) *sharedLedger {
	t.Helper()
	server.Require(t)
	t.Parallel()
	return &sharedLedger{t: t, namespace: server.Namespace(t, nil), change: func(*config.Config) {}}
}

// newStore returns the Store of the agent on a node.
func (a *sharedLedger) newStore(node string, w *faultyTransport, clock func() time.Time) *Store {
	a.t.Helper()
	cfg := testConfig()
	cfg.NodeName, cfg.Namespace = node, a.namespace
	a.change(&cfg)
	return NewStore(w.client(a.t), cfg, clock)
}

func (a *sharedLedger) listLeases() []coordinationv1.Lease {
	a.t.Helper()
	list, err := server.Client.CoordinationV1().Leases(a.namespace).List(a.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=mountwarden"})
	if err != nil {
		a.t.Fatal(err)
	}
	return list.Items
}

// readState reads what the API server has.
func (a *sharedLedger) readState() State {
	a.t.Helper()
	s := a.newStore("reader", &faultyTransport{}, fixedClock)
	if err := s.refreshCopy(a.t.Context(), 0); err != nil {
		a.t.Fatal(err)
	}
	return s.pruneCopy()
}

func fixedClock() time.Time { return now }

func (a *sharedLedger) requireReserve(s *Store, ask Ask, want controllers.Held) {
	a.t.Helper()
	_, refusal, err := s.Reserve(a.t.Context(), ask)
	if err != nil {
		a.t.Fatal(err)
	}
	requireHeld(a.t, refusal, want)
}

func newUnrelatedAsk(name string) Ask {
	return newAsk(func(a *Ask) {
		a.Pod, a.PodUID, a.Backend = name, types.UID(name), "CSI/"+name
		a.Owner = Owner{"ReplicaSet", "of-" + name, types.UID("of-" + name)}
	})
}

func TestReserveIsSeenByAll(t *testing.T) {
	a := newSharedLedger(t)
	one, two := a.newStore("node-1", &faultyTransport{}, fixedClock), a.newStore("node-2", &faultyTransport{}, fixedClock)
	a.requireReserve(one, newAsk(), "")
	a.requireReserve(two, newAsk(func(a *Ask) { a.Node, a.Pod, a.PodUID = "node-2", "y", "y-uid" }), controllers.HeldOwnerBusy)
	if err := one.Close(t.Context(), newAsk().Entry, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	two.readAt = time.Time{} // its copy is out of date
	a.requireReserve(two, newAsk(func(a *Ask) { a.Node, a.Pod, a.PodUID = "node-2", "y", "y-uid" }), "")
	if s := a.readState(); len(s.Entries) != 2 || s.Trials["CSI/driver"].HealedAt.IsZero() {
		t.Errorf("%+v", s)
	}
}

// An idle agent calls nothing. An eviction costs two reads and two writes, and its end one write.
func TestCallsOfAReservation(t *testing.T) {
	a := newSharedLedger(t)
	w := &faultyTransport{}
	s := a.newStore("node-1", w, fixedClock)
	if w.calls.Load() != 0 {
		t.Errorf("%d calls before anything failed", w.calls.Load())
	}
	if refusal, err := s.Refuse(t.Context(), newAsk()); refusal != nil || err != nil {
		t.Fatal(refusal, err)
	}
	a.requireReserve(s, newAsk(), "")
	if n := w.calls.Load(); n > 4 {
		t.Errorf("%d calls to reserve, want 4: ledger and owner, each read and written", n)
	}
	s.readAt = s.readAt.Add(-time.Hour) // nobody else has changed it
	before := w.calls.Load()
	if err := s.Close(t.Context(), newAsk().Entry, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	if n := w.calls.Load() - before; n != 1 {
		t.Errorf("%d calls to close, want 1", n)
	}
	before = w.calls.Load()
	for range 10 {
		if _, err := s.Refuse(t.Context(), newAsk()); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.calls.Load() - before; n != 0 {
		t.Errorf("%d calls for what a copy answers", n)
	}
}

// However many agents ask at the same time, the budget holds, and all of it is used.
func TestAgentsRace(t *testing.T) {
	a := newSharedLedger(t)
	var granted atomic.Int32
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			node := fmt.Sprint("node-", i)
			s := a.newStore(node, &faultyTransport{}, fixedClock)
			_, refusal, err := s.Reserve(t.Context(), newAsk(func(a *Ask) {
				a.Node, a.Namespace, a.Pod, a.PodUID, a.Backend = node, node, node, types.UID(node), node
				a.Owner.UID = types.UID(node)
			}))
			for err != nil && t.Context().Err() == nil {
				_, refusal, err = s.Reserve(t.Context(), newAsk(func(a *Ask) {
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

// Cut before or after each write: asked again, by the same agent or by the next one, the pod is
// granted once and counted once.
func TestCutAtEachWrite(t *testing.T) {
	for write := int32(1); write <= 2; write++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, after %t", write, after), func(t *testing.T) {
				a := newSharedLedger(t)
				w := &faultyTransport{cut: func(n int32, _ *http.Request) (bool, bool) { return n == write && !after, n == write && after }}
				s := a.newStore("node-1", w, fixedClock)
				_, _, err := s.Reserve(t.Context(), newAsk())
				if !errors.Is(err, errCut) {
					t.Fatalf("%v, want that the cut is told", err)
				}
				a.requireReserve(a.newStore("node-1", &faultyTransport{}, fixedClock), newAsk(), "")
				a.requireReserve(s, newAsk(), "")
				state := a.readState()
				if len(state.Entries) != 1 {
					t.Errorf("%d entries", len(state.Entries))
				}
				owner, err := s.readOwnerLease(t.Context(), newAsk())
				if err != nil || owner.streak.attempts != 1 {
					t.Errorf("row %+v, %v; want one attempt", owner.streak, err)
				}
			})
		}
	}
}

func TestCutAtTheEnd(t *testing.T) {
	for _, after := range []bool{false, true} {
		a := &sharedLedger{t: t, change: func(*config.Config) {}}
		server.Require(t)
		a.namespace = server.Namespace(t, nil)
		w := &faultyTransport{cut: func(n int32, _ *http.Request) (bool, bool) { return n == 3 && !after, n == 3 && after }}
		s := a.newStore("node-1", w, fixedClock)
		a.requireReserve(s, newAsk(), "")
		if err := s.Close(t.Context(), newAsk().Entry, controllers.AftermathStillBroken); !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Close(t.Context(), newAsk().Entry, controllers.AftermathStillBroken); err != nil {
				t.Fatal(err)
			}
		}
		if n := a.readState().Trials["CSI/driver"].Failures; n != 1 {
			t.Errorf("after %t: %d failures of the backend, want 1", after, n)
		}
	}
}

// An agent that was away for longer than others waited still writes the end, and it counts.
func TestALateEndCounts(t *testing.T) {
	a := newSharedLedger(t)
	clock := now
	s := a.newStore("node-1", &faultyTransport{}, func() time.Time { return clock })
	a.requireReserve(s, newAsk(), "")
	clock = now.Add(followUpTimeout(s.config, newAsk().Entry) + time.Second)
	another := newAsk(func(a *Ask) { a.PodUID, a.Since = "y-uid", clock })
	a.requireReserve(s, another, controllers.HeldBackendStorm)
	if err := s.Close(t.Context(), newAsk().Entry, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	if trial := a.readState().Trials["CSI/driver"]; trial.isFailing() || !trial.HealedAt.Equal(clock) {
		t.Errorf("%+v", trial)
	}
	a.requireReserve(s, another, "")
}

func TestReservationIsRenewed(t *testing.T) {
	a := newSharedLedger(t)
	clock := now
	s := a.newStore("node-1", &faultyTransport{}, func() time.Time { return clock })
	a.requireReserve(s, newAsk(), "")
	clock = clock.Add(ActWithin/2 - time.Second)
	a.requireReserve(s, newAsk(), "")
	if at := a.readState().Entries[0].At; !at.Equal(now) {
		t.Errorf("noted anew after %s, while the first note is fresh", at.Sub(now))
	}
	clock = now.Add(ActWithin)
	a.requireReserve(s, newAsk(), "")
	if at := a.readState().Entries[0].At; !at.Equal(clock) {
		t.Errorf("not noted anew: %s", at.Sub(now))
	}
}

func TestReleaseGivesBack(t *testing.T) {
	a := newSharedLedger(t)
	s := a.newStore("node-1", &faultyTransport{}, fixedClock)
	for range 4 { // twice as many as the node's budget
		a.requireReserve(s, newAsk(), "")
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
	if n := len(a.readState().Entries); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestPendingIsOfThisNode(t *testing.T) {
	a := newSharedLedger(t)
	s := a.newStore("node-1", &faultyTransport{}, fixedClock)
	if own, err := s.Pending(t.Context()); err != nil || len(own) != 0 {
		t.Errorf("without a ledger: %v, %v", own, err)
	}
	a.requireReserve(s, newAsk(), "")
	a.requireReserve(a.newStore("node-2", &faultyTransport{}, fixedClock), newAsk(func(a *Ask) { a.Node, a.PodUID, a.Owner.UID = "node-2", "y", "y" }), "")
	ended := newUnrelatedAsk("z")
	a.requireReserve(s, ended, "")
	if err := s.Close(t.Context(), Entry{PodUID: "z"}, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	own, err := a.newStore("node-1", &faultyTransport{}, fixedClock).Pending(t.Context())
	if err != nil || len(own) != 1 || own[0].PodUID != "x-uid" || !own[0].Since.Equal(newAsk().Since) || own[0].Grace != 30 {
		t.Errorf("%+v, %v", own, err)
	}
}

// That a replacement is up is written once, while the eviction is pending.
func TestMarkUp(t *testing.T) {
	a, w := newSharedLedger(t), &faultyTransport{}
	s := a.newStore("node-1", w, fixedClock)
	a.requireReserve(s, newAsk(func(a *Ask) { a.Cause, a.WellFor = probes.CauseHung, 105 }), "")
	for range 3 {
		if err := s.MarkUp(t.Context(), "x-uid"); err != nil {
			t.Fatal(err)
		}
	}
	if e := a.readState().Entries[0]; !e.Up || e.WellFor != 105 {
		t.Errorf("%+v", e)
	}
	if err := s.Close(t.Context(), newAsk().Entry, controllers.AftermathHealed); err != nil {
		t.Fatal(err)
	}
	before := w.writes.Load()
	for _, uid := range []types.UID{"x-uid", "nobody"} {
		if err := s.MarkUp(t.Context(), uid); err != nil || w.writes.Load() != before {
			t.Errorf("%s: %v, %d writes", uid, err, w.writes.Load()-before)
		}
	}
}

// A late success frees the owner and proves the backend, whether the entry is still there or not.
func TestCloseOfWhatHealedLate(t *testing.T) {
	for name, later := range map[string]time.Duration{"it is still written": time.Second, "it is not": time.Hour} {
		t.Run(name, func(t *testing.T) {
			a, clock := newSharedLedger(t), now
			s := a.newStore("node-1", &faultyTransport{}, func() time.Time { return clock })
			a.requireReserve(s, newAsk(), "")
			removed := newAsk().Entry
			removed.At = now
			if err := s.Close(t.Context(), removed, controllers.AftermathStuckCreating); err != nil {
				t.Fatal(err)
			}
			a.requireReserve(s, newAsk(func(a *Ask) { a.Pod, a.PodUID, a.Backend = "y", "y-uid", "CSI/another" }), controllers.HeldBackoff)
			clock = clock.Add(later)
			for range 2 {
				if err := s.Close(t.Context(), removed, controllers.AftermathHealed); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.stored; len(got.Owners) > 0 || !got.Trials["CSI/driver"].HealedAt.Equal(clock) {
				t.Errorf("%+v", got)
			}
			a.requireReserve(s, newAsk(func(a *Ask) { a.Pod, a.PodUID, a.Backend = "y", "y-uid", "CSI/another" }), "")
		})
	}
}

// What cannot be parsed is an error: it is neither granted nor overwritten.
func TestMalformedLeases(t *testing.T) {
	for name, tc := range map[string]struct {
		lease, key, value string
	}{
		"ledger":          {ledgerName, annotationLedger, `{"entries": 7}`},
		"owner's row":     {ownerLeaseName(newAsk().Entry), annotationAttempts, "many"},
		"owner's row, -1": {ownerLeaseName(newAsk().Entry), annotationAttempts, "-1"},
		"owner's start":   {ownerLeaseName(newAsk().Entry), annotationFirst, "yesterday"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newSharedLedger(t)
			a.requireReserve(a.newStore("node-1", &faultyTransport{}, fixedClock), newAsk(), "")
			lease, err := server.Client.CoordinationV1().Leases(a.namespace).Get(t.Context(), tc.lease, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			lease.Annotations[tc.key] = tc.value
			lease, err = server.Client.CoordinationV1().Leases(a.namespace).Update(t.Context(), lease, metav1.UpdateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			_, refusal, err := a.newStore("node-1", &faultyTransport{}, fixedClock).Reserve(t.Context(), newAsk(func(a *Ask) { a.PodUID = "y" }))
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

// Deleting the Leases resets everything, whatever copies the agents have.
func TestLeasesAreDeleted(t *testing.T) {
	a := newSharedLedger(t)
	s := a.newStore("node-1", &faultyTransport{}, fixedClock)
	a.requireReserve(s, newAsk(), "")
	for _, l := range a.listLeases() {
		if err := server.Client.CoordinationV1().Leases(a.namespace).Delete(t.Context(), l.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	a.requireReserve(s, newUnrelatedAsk("y"), "")
	if state := a.readState(); len(state.Entries) != 1 || state.Entries[0].PodUID != "y" {
		t.Errorf("%+v", state)
	}
}

// An owner whose pods fail again and again on any node is given up by every agent, also by one that
// has just started. It is tried again after what docs/remediation.md says.
func TestDeletedLeaseEndsStreak(t *testing.T) {
	a := newSharedLedger(t)
	clock := now
	next := func(i int) (*Store, Ask) {
		clock = clock.Add(6 * time.Minute) // more than the longest delay
		node := fmt.Sprint("node-", i%3)
		return a.newStore(node, &faultyTransport{}, func() time.Time { return clock }), newAsk(func(a *Ask) {
			a.Node, a.Pod, a.PodUID = node, fmt.Sprint("web-", i), types.UID(fmt.Sprint("web-", i))
			a.Created, a.Since = clock.Add(-5*time.Minute-50*time.Second), clock.Add(-5*time.Minute-10*time.Second)
		})
	}
	for i := range testConfig().Backoff.MaxAttempts {
		s, ask := next(i)
		a.requireReserve(s, ask, "")
		if err := s.Close(t.Context(), ask.Entry, controllers.AftermathHealed); err != nil {
			t.Fatal(err)
		}
	}
	s, last := next(10)
	a.requireReserve(s, last, controllers.HeldGaveUp)
	other, _ := next(11)
	a.requireReserve(other, last, controllers.HeldGaveUp)
	a.requireReserve(other, newUnrelatedAsk("y"), "") // of another owner

	byLabels := metav1.ListOptions{LabelSelector: "mountwarden.io/owner-namespace=a,mountwarden.io/owner-name=web"}
	if err := server.Client.CoordinationV1().Leases(a.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, byLabels); err != nil {
		t.Fatal(err)
	}
	a.requireReserve(s, last, "")
}

func TestLeasesExplainThemselves(t *testing.T) {
	a := newSharedLedger(t)
	a.requireReserve(a.newStore("node-1", &faultyTransport{}, fixedClock), newAsk(func(a *Ask) { a.Owner.Name = strings.Repeat("x", 70) + "." }), "")
	leases := a.listLeases()
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

// The Leases of owners are deleted when they are of no use: some time after they could count, or a
// week if manual action is needed.
func TestDeleteStaleLeases(t *testing.T) {
	a := newSharedLedger(t)
	clock := now
	s := a.newStore("node-1", &faultyTransport{}, func() time.Time { return clock })
	a.requireReserve(s, newUnrelatedAsk("old"), "")
	clock = now.Add(keepOwnerLease + time.Duration(s.config.Backoff.MaxSeconds+s.config.Backoff.ForgetSeconds)*time.Second)
	a.requireReserve(s, newUnrelatedAsk("young"), "")
	stranded := newUnrelatedAsk("stranded")
	a.requireReserve(s, stranded, "")
	name := ownerLeaseName(stranded.Entry)
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
	for _, l := range a.listLeases() {
		left = append(left, l.Annotations[annotationPod])
	}
	slices.Sort(left)
	if want := []string{"", "stranded", "young"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

func TestUnreachableAPIServer(t *testing.T) {
	a := newSharedLedger(t)
	s := a.newStore("node-1", &faultyTransport{}, fixedClock)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, refusal, err := s.Reserve(ctx, newAsk()); err == nil || refusal != nil {
		t.Errorf("%+v, %v", refusal, err)
	}
	if refusal, err := s.Refuse(ctx, newAsk()); err == nil || refusal != nil {
		t.Errorf("%+v, %v", refusal, err)
	}
	for _, l := range a.listLeases() {
		if _, err := server.Client.CoordinationV1().Leases(a.namespace).Get(t.Context(), l.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s was written", l.Name)
		}
	}
}

// Pods that fail while the API server does not respond wait for one call together, and not one
// after the other: their mounts must be probed meanwhile, and a loop that is late for long seems
// stalled.
func TestUnresponsiveAPIServer(t *testing.T) {
	a := newSharedLedger(t)
	w := &faultyTransport{}
	clock := now
	s := a.newStore("node-1", w, func() time.Time { return clock })
	a.requireReserve(s, newUnrelatedAsk("before"), "")
	clock = clock.Add(time.Minute)
	before := w.calls.Load()
	w.silent.Store(true)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if refusal, err := s.Refuse(t.Context(), newUnrelatedAsk(fmt.Sprint("pod-", i))); err == nil || refusal != nil {
				t.Errorf("%+v, %v", refusal, err)
			}
		})
	}
	all.Wait()
	if calls := w.calls.Load() - before; calls != 1 {
		t.Errorf("%d calls for 50 pods that ask together, want 1", calls)
	}
	w.silent.Store(false)
	clock = clock.Add(maxCopyAge)
	if refusal, err := s.Refuse(t.Context(), newUnrelatedAsk("after")); refusal != nil || err != nil {
		t.Errorf("refused after the outage: %+v, %v", refusal, err)
	}
}

// The API server takes annotations of 256 KiB in all: more is refused with a reason, and what is
// there can still be closed.
func TestALedgerFits(t *testing.T) {
	a := newSharedLedger(t)
	a.change = func(c *config.Config) {
		c.Budgets = config.Budgets{WindowSeconds: 60, Node: 600, Namespace: 600, Cluster: 600}
	}
	s := a.newStore("node-1", &faultyTransport{}, fixedClock)
	full := State{}
	long := strings.Repeat("x", 250)
	for i := 0; checkSize(full, newAsk(), s.config.Budgets) == nil; i++ {
		full.Entries = append(full.Entries, newEntry(fmt.Sprint("p", i), func(e *Entry) { e.Pod, e.Owner.Name = long, long }))
	}
	full.Entries = full.Entries[:len(full.Entries)-1]
	if err := s.updateLedger(t.Context(), maxCopyAge, func(State, time.Time) (State, bool) { return full, true }); err != nil {
		t.Fatal(err)
	}
	a.requireReserve(s, newAsk(func(a *Ask) { a.Pod, a.Owner.Name = long, long }), controllers.HeldRateLimit)
	for _, e := range full.Entries[:20] {
		if err := s.Close(t.Context(), e, controllers.AftermathStuckTerminating); err != nil {
			t.Fatalf("%s of %d: %v", e.PodUID, len(full.Entries), err)
		}
	}
}
