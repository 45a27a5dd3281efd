package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/probes"
)

const tenYears = 10 * 365 * 24 * 60 * 60

// A pod's own grace period and hang-seconds count for ten minutes at most for others: beyond that
// the entry holds nobody.
func TestWhatAPodAsksForHoldsNobodyForLong(t *testing.T) {
	cfg := testConfig()
	bound := time.Duration(cfg.FollowUpSeconds)*time.Second + 2*maxChosenTime + 2*time.Minute
	long := newEntry("tenant", reservedAgo(bound+time.Second), withBackend, func(e *Entry) {
		e.Grace, e.WellFor, e.Cause = tenYears, tenYears, probes.CauseDisconnected
	})
	s := newState(long).prune(cfg, now)
	requireHeld(t, s.checkAsk(newAsk(func(a *Ask) { a.Failing = 10 }), cfg, now), "")
	if s.Trials["CSI/driver"].isFailing() {
		t.Error("a pod within its grace period says something of the backend")
	}
	own := newAsk(func(a *Ask) { a.Namespace, a.Owner = long.Namespace, long.Owner })
	requireHeld(t, s.checkAsk(own, cfg, now), controllers.HeldBackoff) // its own owner has no healthy replacement
	long.At = long.At.Add(2 * time.Second)
	requireHeld(t, newState(long).prune(cfg, now).checkAsk(newAsk(func(a *Ask) { a.Failing = 10 }), cfg, now), controllers.HeldBackendStorm)
}

// 648 labels, as many as an object may have: the selector then is every pod of the namespace.
func TestSelectorIsBounded(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{}}}
	for i := range 648 {
		pod.Labels[fmt.Sprintf("%s.example/k%03d", strings.Repeat("a", 63), i)] = strings.Repeat("v", 63)
	}
	if got := SelectorFor(pod); got != "" {
		t.Errorf("%d bytes", len(got))
	}
	pod.Labels["pod-template-hash"] = "abc"
	if got := SelectorFor(pod); got != "pod-template-hash=abc" {
		t.Errorf("%q: what the controller sets is short", got)
	}
	few := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web", "tier": "front"}}}
	if selector, err := labels.Parse(SelectorFor(few)); err != nil || !selector.Matches(labels.Set(few.Labels)) {
		t.Errorf("%v, %v", selector, err)
	}
}

func podOwnedBy(kind, name, uid string) *corev1.Pod {
	yes := true
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: kind, Name: name, UID: types.UID(uid), Controller: &yes}}}}
}

// An owner reference may be of any length. It is bounded before it is shared, and what differs
// stays different.
func TestOwnerIsBounded(t *testing.T) {
	long := strings.Repeat("é", 50_000)
	a, b := OwnerOf(podOwnedBy(long+"a", long+"a", long+"a")), OwnerOf(podOwnedBy(long+"b", long+"b", long+"b"))
	for _, o := range []Owner{a, b} {
		if len(o.Kind) > 63 || len(o.Name) > 253 || len(o.UID) > 64 {
			t.Errorf("%d, %d and %d bytes", len(o.Kind), len(o.Name), len(o.UID))
		}
	}
	if a.Kind == b.Kind || a.Name == b.Name || a.UID == b.UID {
		t.Errorf("%v and %v are two", a, b)
	}
	const uid = "0b9a8c7d-6e5f-4a3b-9c1d-0123456789ab"
	if got := OwnerOf(podOwnedBy("ReplicaSet", "web", uid)); got != (Owner{"ReplicaSet", "web", uid}) {
		t.Errorf("%v", got)
	}
}

// Whatever an owner is called, its Lease has a name that the API server takes.
func TestLeaseNamesAreValid(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{
		"web", "Bad_Kind/x_y", "..", "a..b", "-a.-b-", "ÄÖ", "", strings.Repeat("a.", 500), strings.Repeat("x", 1000), "a" + strings.Repeat("-", 300) + ".b",
	} {
		for _, cause := range []probes.Cause{probes.CauseHung, probes.CauseDisconnected} {
			e := Entry{Namespace: "shop", Owner: OwnerOf(podOwnedBy(name, name, name)), Cause: cause}
			got := ownerLeaseName(e)
			if problems := validation.IsDNS1123Subdomain(got); len(problems) > 0 {
				t.Errorf("%q: %q: %v", name, got, problems)
			}
			if other, twice := seen[got]; twice {
				t.Errorf("%q and %q are both %q", name, other, got)
			}
			seen[got] = name
		}
	}
}

// However many namespaces fill the ledger, there is room for one more, in entries and in bytes.
func TestThereIsRoomForOneMore(t *testing.T) {
	cfg := config.Default()
	cfg.NodeName = "node-1"
	for name, owner := range map[string]Owner{
		"short": {"ReplicaSet", "web", "uid"},
		"long":  OwnerOf(podOwnedBy(strings.Repeat("k", 99), strings.Repeat("o", 999), strings.Repeat("u", 99))),
		"dirty": OwnerOf(podOwnedBy(strings.Repeat("\x01", 63), strings.Repeat("\"", 253), strings.Repeat("<", 64))),
	} {
		t.Run(name, func(t *testing.T) {
			s := newState()
			for tenant := range 4 {
				for i := range maxEntries {
					a := newUnrelatedAsk(fmt.Sprint(tenant, "-", i))
					a.Namespace, a.Node, a.At, a.Grace = fmt.Sprint("tenant-", tenant), fmt.Sprint("n", i), ago(3*time.Minute), tenYears
					a.Owner.Kind, a.Owner.Name = owner.Kind, owner.Name
					if name != "short" {
						a.Pod, a.Selector = strings.Repeat("p", 253), strings.Repeat("s", maxSelector)
					}
					next := s
					next.Entries = append(slices.Clone(s.Entries), a.Entry)
					if s.checkAsk(a, cfg, now) != nil || checkSize(next, a, cfg.Budgets) != nil {
						break
					}
					s = next
				}
				t.Logf("%d entries after tenant %d", len(s.Entries), tenant)
			}
			victim := newAsk()
			requireHeld(t, s.checkAsk(victim, cfg, now), "")
			s.Entries = append(s.Entries, victim.Entry)
			requireHeld(t, checkSize(s, victim, cfg.Budgets), "")
			requireFits(t, s)
		})
	}
}

// A namespace that is allowed most of all evictions gets as much of the ledger.
func TestABudgetGivesALargerShare(t *testing.T) {
	cfg := config.Default()
	s := newState()
	for i := range maxEntries/2 + 1 {
		s.Entries = append(s.Entries, newEntry(fmt.Sprint(i), reservedAgo(5*time.Minute), withNamespace))
	}
	requireHeld(t, s.checkAsk(newAsk(), cfg, now), controllers.HeldRateLimit)
	cfg.Budgets.Namespace = maxEntries
	requireHeld(t, s.checkAsk(newAsk(), cfg, now), "")
}

// What one pod alone has mounted is known no longer than the pod: it does not push out what is
// known of others.
func TestAPodsOwnBackendIsNotKept(t *testing.T) {
	s := newState()
	s.learnAftermath(newEntry("b", func(e *Entry) { e.Backend = "Pod/some-uid" }), "StillBroken", now)
	if len(s.Trials) != 0 || len(s.Owners) != 1 {
		t.Errorf("%v %v", s.Trials, s.Owners)
	}
}
