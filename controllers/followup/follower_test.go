package followup

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/probes"
)

func TestHealed(t *testing.T) {
	s := newAPIScenario(t)
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	next := s.createReplacement("web-2")
	server.Vanish(t, s.old)
	s.setMountsCondition(next, corev1.ConditionTrue, "")
	s.expectEnd(controllers.AftermathHealed)
	s.expectEvents(t, "Normal SuccessorHealthy Pod/web-2 ReplicaSet/web", "Normal SuccessorHealthy ReplicaSet/web Pod/web-2")
	s.expectNote(t, "replaces pod web-1 (Disconnected)", "its mounts are healthy", "s after it failed", "over")
	s.expectTook(t, map[controllers.Phase]int{controllers.PhaseAct: 1, controllers.PhaseTerminate: 1, controllers.PhaseHeal: 1, controllers.PhaseTotal: 1})
	apitest.Eventually(t, "nothing is followed", func() bool { return f.following() == 0 })
	if s.transport.lists != 0 || s.transport.countOpened() != 1 || !strings.Contains(s.transport.asked[0], "resourceVersion="+s.old.ResourceVersion) {
		t.Errorf("%d lists, watches: %q", s.transport.lists, s.transport.asked)
	}
}

// following returns how many removals are followed.
func (f *Follower) following() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.followed) + len(f.queue)
}

// The replacement of another pod of the owner, which was evicted a moment before, is healthy
// already.
func TestASuccessorOfAnotherPodDoesNotCount(t *testing.T) {
	s := newAPIScenario(t)
	f, _ := s.startFollower(t, s.client)
	s.setMountsCondition(s.createReplacement("web-0"), corev1.ConditionTrue, "")
	f.Follow(s.deletePod(), s.old)
	server.Vanish(t, s.old)
	s.setMountsCondition(s.createReplacement("web-2"), corev1.ConditionTrue, "")
	s.expectEnd(controllers.AftermathHealed)
	s.expectEvents(t, "Normal SuccessorHealthy Pod/web-2 ReplicaSet/web", "Normal SuccessorHealthy ReplicaSet/web Pod/web-2")
}

func TestStillBroken(t *testing.T) {
	s := newAPIScenario(t)
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	server.Vanish(t, s.old)
	s.setMountsCondition(s.createReplacement("web-2"), corev1.ConditionFalse, "data: Stale\n\x1b[31m")
	s.expectEnd(controllers.AftermathStillBroken)
	s.expectEvents(t, "Warning SuccessorUnhealthy Pod/web-2 ReplicaSet/web", "Warning SuccessorUnhealthy ReplicaSet/web Pod/web-2")
	s.expectNote(t, "its mounts failed too", "data: Stale  [31m", "removed in turn")
	s.expectTook(t, map[controllers.Phase]int{controllers.PhaseAct: 1, controllers.PhaseTerminate: 1})
}

func TestStuckCreating(t *testing.T) {
	s := newAPIScenario(t)
	s.config.FollowUpSeconds = 3
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	server.Vanish(t, s.old)
	next := s.createReplacement("web-2")
	server.ChangeStatus(t, next, func(st *corev1.PodStatus) {
		st.Phase = corev1.PodPending
		st.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	})
	s.expectEnd(controllers.AftermathStuckCreating)
	s.expectEvents(t, "Warning SuccessorUnhealthy Pod/web-2 ReplicaSet/web", "Warning SuccessorUnhealthy ReplicaSet/web Pod/web-2")
	s.expectNote(t, "is not up: container app: ContainerCreating", "the other pods of ReplicaSet/web are kept")
}

func TestNoSuccessor(t *testing.T) {
	s := newAPIScenario(t)
	s.config.FollowUpSeconds = 2
	s.createReplacement("web-0") // was there before
	f, _ := s.startFollower(t, s.client)
	s.withLock(func() { s.ahead = 4 * time.Second })
	f.Follow(s.deletePod(), s.old)
	server.Vanish(t, s.old)
	stranger := s.createReplacement("api-1", ownedBy("api"))
	s.setMountsCondition(stranger, corev1.ConditionTrue, "")
	s.expectEnd(controllers.AftermathNoSuccessor)
	s.expectEvents(t, "Warning SuccessorUnhealthy Pod/web-1 ReplicaSet/web", "Warning SuccessorUnhealthy ReplicaSet/web Pod/web-1")
	s.expectNote(t, "nothing replaces pod web-1", "ReplicaSet/web")
}

func TestStuckTerminating(t *testing.T) {
	s := newAPIScenario(t)
	s.config.FollowUpSeconds = 2
	s.why = probes.Stuck{Known: true, Text: "process 7 (app) waits\nin fuse", FUSE: []string{"0:57"}}
	f, _ := s.startFollower(t, s.client)
	f.lateCount = maxLate // it is not followed for a replacement
	f.Follow(s.deletePod(), s.old)
	s.expectEnd(controllers.AftermathStuckTerminating)
	s.expectEvents(t, "Warning PodStuckTerminating Pod/web-1 ReplicaSet/web", "Warning PodStuckTerminating ReplicaSet/web Pod/web-1")
	s.expectNote(t, "still terminating: process 7 (app) waits in fuse", "never deleted by force")
	if s.aborted != nil || s.whys != 1 {
		t.Errorf("asked why %d times, aborted %v though nobody allowed it", s.whys, s.aborted)
	}
	// It is watched by its name until it is gone, to report how long it took.
	apitest.Eventually(t, "a narrow watch", func() bool { return s.transport.countOpened() == 2 })
	if !strings.Contains(s.transport.asked[1], "fieldSelector=metadata.name%3Dweb-1") {
		t.Errorf("watch: %s", s.transport.asked[1])
	}
	server.Vanish(t, s.old)
	apitest.Eventually(t, "nothing is followed", func() bool { return f.following() == 0 })
	s.expectTook(t, map[controllers.Phase]int{controllers.PhaseAct: 1, controllers.PhaseTerminate: 1})
}

// A pod that hangs is reported although its replacement was healthy long before.
func TestStuckAfterHealing(t *testing.T) {
	s := newAPIScenario(t, func(pod *corev1.Pod) { pod.Finalizers = []string{"example.com/keep"} })
	s.config.AbortStuckFUSE = true
	s.why = probes.Stuck{Known: true, Text: "hangs", FUSE: []string{"0:57", "0:58"}}
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	s.setMountsCondition(s.createReplacement("web-2"), corev1.ConditionTrue, "")
	s.expectEnd(controllers.AftermathHealed)
	s.withLock(func() { s.ahead = 61 * time.Second; s.events, s.notes = nil, nil })
	for range 3 { // several events must not report it twice
		// A change makes the follower compare the time.
		server.Change(t, s.old, func(pod *corev1.Pod) { pod.Annotations["poke"] += "x" })
		apitest.Eventually(t, "it is told", func() (told bool) {
			s.withLock(func() { told = len(s.events) > 0 })
			return told
		})
	}
	s.expectEvents(t, "Warning PodStuckTerminating Pod/web-1 ReplicaSet/web", "Warning PodStuckTerminating ReplicaSet/web Pod/web-1")
	s.expectNote(t, "hangs; 1 finalizers keep it", "connection 0:57 was aborted", "connection 0:58 was aborted")
	apitest.Eventually(t, "a narrow watch", func() bool { return s.transport.countOpened() == 2 })
	if want := fmt.Sprintf("[%[1]s 0:57 %[1]s 0:58]", s.old.UID); fmt.Sprint(s.aborted) != want {
		t.Errorf("aborted %v, want %s", s.aborted, want)
	}
}

func TestRefusedAbortIsSaid(t *testing.T) {
	s := newAPIScenario(t)
	s.config.FollowUpSeconds, s.config.AbortStuckFUSE = 1, true
	s.why, s.refusal = probes.Stuck{Known: true, Text: strings.Repeat("long ", 400), FUSE: []string{"0:57"}}, errors.New("another pod uses it")
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	s.expectEnd(controllers.AftermathStuckTerminating)
	s.expectNote(t, "never deleted by force") // the next step is named however long the reason is
	s.withLock(func() {
		if !strings.Contains(strings.Join(s.logged, "\n"), "another pod uses it") {
			t.Error("the log does not say why")
		}
	})
}

func TestDryRunNeverAborts(t *testing.T) {
	s := newAPIScenario(t)
	s.config.FollowUpSeconds, s.config.AbortStuckFUSE, s.config.DryRun = 1, true, true
	s.why = probes.Stuck{Known: true, Text: "hangs", FUSE: []string{"0:57"}}
	s.pending = []ledger.Entry{s.deletePod()}
	s.startFollower(t, s.client)
	s.expectEnd(controllers.AftermathStuckTerminating)
	if s.aborted != nil {
		t.Errorf("aborted %v", s.aborted)
	}
}

// A StatefulSet's replacement pod has the same name, and comes when the old one is gone.
func TestSameName(t *testing.T) {
	s := newAPIScenario(t, func(pod *corev1.Pod) {
		pod.OwnerReferences[0].Kind = "StatefulSet"
		pod.Labels = map[string]string{"app": "web", "statefulset.kubernetes.io/pod-name": "web-1", "controller-revision-hash": "1"}
	})
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	server.Vanish(t, s.old)
	next := s.createReplacement("web-1", func(pod *corev1.Pod) {
		pod.Labels = map[string]string{"app": "web", "statefulset.kubernetes.io/pod-name": "web-1", "controller-revision-hash": "2"}
	})
	s.setMountsCondition(next, corev1.ConditionTrue, "")
	s.expectEnd(controllers.AftermathHealed)
	s.expectEvents(t, "Normal SuccessorHealthy Pod/web-1 StatefulSet/web", "Normal SuccessorHealthy StatefulSet/web Pod/web-1")
	s.expectTook(t, map[controllers.Phase]int{controllers.PhaseAct: 1, controllers.PhaseTerminate: 1, controllers.PhaseHeal: 1, controllers.PhaseTotal: 1})
}

func TestJob(t *testing.T) {
	s := newAPIScenario(t, func(pod *corev1.Pod) {
		pod.OwnerReferences[0].Kind, pod.OwnerReferences[0].APIVersion = "Job", "batch/v1"
		pod.Labels = map[string]string{"batch.kubernetes.io/controller-uid": "owner-of-web-1", "batch.kubernetes.io/job-completion-index": "3"}
	})
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	next := s.createReplacement("web-2")
	server.ChangeStatus(t, next, func(st *corev1.PodStatus) { st.Phase = corev1.PodSucceeded })
	s.expectEnd(controllers.AftermathHealed)
	s.expectEvents(t, "Normal SuccessorHealthy Pod/web-2 Job/web", "Normal SuccessorHealthy Job/web Pod/web-2")
	s.expectNote(t, "it has succeeded")
}

func TestBarePod(t *testing.T) {
	s := newAPIScenario(t, func(pod *corev1.Pod) { pod.OwnerReferences, pod.Labels = nil, nil })
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	server.Vanish(t, s.old)
	s.setMountsCondition(s.createReplacement("web-2"), corev1.ConditionTrue, "") // somebody else's
	s.setMountsCondition(s.createReplacement("web-1"), corev1.ConditionTrue, "")
	s.expectEnd(controllers.AftermathHealed)
	s.expectEvents(t, "Normal SuccessorHealthy Pod/web-1 -")
}

// No agent reports the replacement's mounts, because none runs on its node.
func TestReadyWithoutAnAgent(t *testing.T) {
	s := newAPIScenario(t)
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	next := s.createReplacement("web-2")
	server.ChangeStatus(t, next, func(st *corev1.PodStatus) {
		st.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Minute + 2*time.Second))}}
	})
	s.expectEnd(controllers.AftermathHealed)
	s.expectNote(t, "ready for 1m5s", "no agent")
}

// What happened while there was no watch is seen nevertheless.
func TestWatchIsCut(t *testing.T) {
	s := newAPIScenario(t)
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	broken := s.createReplacement("web-2")
	for round := 1; round <= 3; round++ {
		apitest.Eventually(t, "a watch", func() bool { return s.transport.countOpened() == round })
		s.transport.cutWatches(false)
	}
	apitest.Eventually(t, "a watch", func() bool { return s.transport.countOpened() == 4 })
	s.transport.cutWatches(true)
	s.setMountsCondition(broken, corev1.ConditionFalse, "")
	server.Vanish(t, broken)
	server.Vanish(t, s.old)
	s.setMountsCondition(s.createReplacement("web-3"), corev1.ConditionTrue, "")
	s.transport.cutWatches(false)
	s.expectEnd(controllers.AftermathHealed)
	s.expectEvents(t, "Normal SuccessorHealthy Pod/web-3 ReplicaSet/web", "Normal SuccessorHealthy ReplicaSet/web Pod/web-3")
	s.expectTook(t, map[controllers.Phase]int{controllers.PhaseAct: 1, controllers.PhaseTerminate: 1, controllers.PhaseHeal: 1, controllers.PhaseTotal: 1})
}

// Not to see a replacement is not the same as there being none.
func TestDisconnectedAtTheDeadline(t *testing.T) {
	s := newAPIScenario(t)
	s.config.FollowUpSeconds = 1
	s.transport.cutWatches(true)
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	server.Vanish(t, s.old)
	s.withLock(func() { s.ahead = time.Hour })
	s.setMountsCondition(s.createReplacement("web-2"), corev1.ConditionTrue, "")
	apitest.Eventually(t, "it is told", func() (told bool) {
		s.withLock(func() { told = strings.Contains(strings.Join(s.logged, "\n"), "out of sight") })
		return told
	})
	if got := s.closedAs(s.entry.PodUID); got != "" {
		t.Fatalf("closed as %s by a blind agent", got)
	}
	s.transport.cutWatches(false)
	s.expectEnd(controllers.AftermathHealed)
}

// An agent that starts again continues with the ledger.
func TestRestart(t *testing.T) {
	s := newAPIScenario(t)
	s.pending = []ledger.Entry{s.deletePod()}
	_, stop := s.startFollower(t, s.client)
	apitest.Eventually(t, "a watch", func() bool { return s.transport.countOpened() == 1 })
	stop()
	if s.closedAs(s.old.UID) != "" {
		t.Fatal("closed by an agent that ended")
	}
	next := s.createReplacement("web-2")
	server.Vanish(t, s.old)
	f, _ := s.startFollower(t, s.client)
	s.setMountsCondition(next, corev1.ConditionTrue, "")
	s.expectEnd(controllers.AftermathHealed)
	s.expectEvents(t, "Normal SuccessorHealthy Pod/web-2 ReplicaSet/web", "Normal SuccessorHealthy ReplicaSet/web Pod/web-2")
	s.expectTook(t, map[controllers.Phase]int{controllers.PhaseHeal: 1, controllers.PhaseTotal: 1})
	apitest.Eventually(t, "nothing is followed", func() bool { return f.following() == 0 })
}

// A pod that was reserved by an agent which ended before it could evict it stays, and the budget is
// given back.
func TestReservedAndNeverRemoved(t *testing.T) {
	s := newAPIScenario(t)
	now := s.now().Add(-ledger.ActWithin)
	s.pending = []ledger.Entry{{At: now, Namespace: s.namespace, Pod: "web-1", PodUID: s.old.UID, Owner: ledger.OwnerOf(s.old), Selector: ledger.SelectorFor(s.old)}}
	f, _ := s.startFollower(t, s.client)
	apitest.Eventually(t, "it is given back", func() (given bool) {
		s.withLock(func() { given = len(s.released) == 1 && s.released[0] == s.old.UID })
		return given
	})
	apitest.Eventually(t, "nothing is followed", func() bool { return f.following() == 0 })
	s.expectEvents(t)
	if len(s.closed) > 0 || len(s.ended) > 0 {
		t.Errorf("closed %v, counted %v", s.closed, s.ended)
	}
}

// What could not be given back when it was not done is given back by the follower after a Recall.
func TestRecall(t *testing.T) {
	s := newAPIScenario(t)
	f, _ := s.startFollower(t, s.client)
	apitest.Eventually(t, "the ledger was read", func() (read bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.pendingRead
	})
	s.withLock(func() {
		s.pending = []ledger.Entry{{
			At: time.Now().Add(s.ahead - ledger.ActWithin), Namespace: s.namespace, Pod: "web-1", PodUID: s.old.UID, Owner: ledger.OwnerOf(s.old), Selector: ledger.SelectorFor(s.old),
		}}
	})
	f.Recall()
	f.Recall() // for nothing: it is followed, or will be
	apitest.Eventually(t, "it is given back", func() (given bool) {
		s.withLock(func() { given = len(s.released) > 0 && s.released[0] == s.old.UID })
		return given
	})
	apitest.Eventually(t, "nothing is followed", func() bool { return f.following() == 0 })
}

// What was reserved again while it was doubtful is followed as it is in the ledger now: its first
// reservation cannot be given back any more.
func TestReservedAgain(t *testing.T) {
	s := newAPIScenario(t)
	pendingSince := func(at time.Time) ledger.Entry {
		return ledger.Entry{At: at, Namespace: s.namespace, Pod: "web-1", PodUID: s.old.UID, Owner: ledger.OwnerOf(s.old), Selector: ledger.SelectorFor(s.old)}
	}
	first := s.now()
	s.pending = []ledger.Entry{pendingSince(first)}
	f, _ := s.startFollower(t, s.client)
	apitest.Eventually(t, "it is followed", func() bool { return f.since(s.old.UID).Equal(first) })
	second := first.Add(ledger.ActWithin)
	s.withLock(func() { s.pending = []ledger.Entry{pendingSince(second)} })
	f.Recall()
	apitest.Eventually(t, "it is followed again", func() bool { return f.since(s.old.UID).Equal(second) })
	s.withLock(func() { s.pending, s.ahead = nil, time.Minute })
	apitest.Eventually(t, "it is given back, and nothing is followed", func() (given bool) {
		// A change makes the follower compare the time.
		server.Change(t, s.old, func(pod *corev1.Pod) { pod.Annotations["poke"] += "x" })
		s.withLock(func() { given = len(s.released) == 1 && s.released[0] == s.old.UID })
		return given && f.following() == 0
	})
	s.expectEvents(t)
}

// since returns when the removal was reserved as which the pod is followed.
func (f *Follower) since(pod types.UID) (at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.followed[pod]; p != nil {
		at = p.entry.At
	}
	return at
}

// The same eviction may be read from the ledger and be handed over: it is followed once.
func TestFollowedOnce(t *testing.T) {
	s := newAPIScenario(t)
	e := s.deletePod()
	s.pending = []ledger.Entry{e, e}
	f, _ := s.startFollower(t, s.client)
	apitest.Eventually(t, "a watch", func() bool { return s.transport.countOpened() == 1 })
	for range 3 {
		f.Follow(e, s.old)
	}
	server.Vanish(t, s.old)
	s.setMountsCondition(s.createReplacement("web-2"), corev1.ConditionTrue, "")
	s.expectEnd(controllers.AftermathHealed)
	apitest.Eventually(t, "nothing is followed", func() bool { return f.following() == 0 })
	s.expectEvents(t, "Normal SuccessorHealthy Pod/web-2 ReplicaSet/web", "Normal SuccessorHealthy ReplicaSet/web Pod/web-2")
}

func TestManyAtOnce(t *testing.T) {
	s := newAPIScenario(t)
	f, _ := s.startFollower(t, s.client)
	const n = 20
	uids := map[types.UID]bool{}
	for i := range n {
		old := s.createReplacement(fmt.Sprint("old-", i), ownedBy(types.UID(fmt.Sprint("owner-", i))))
		server.Delete(t, old)
		uids[old.UID] = true
		f.Follow(ledger.Entry{At: s.now(), Since: s.now(), Namespace: s.namespace, Pod: old.Name, PodUID: old.UID, Owner: ledger.OwnerOf(old)}, old)
		server.Vanish(t, old)
		s.setMountsCondition(s.createReplacement(fmt.Sprint("new-", i), ownedBy(types.UID(fmt.Sprint("owner-", i)))), corev1.ConditionTrue, "")
	}
	apitest.Eventually(t, "all healed", func() bool { return f.following() == 0 })
	for uid := range uids {
		if got := s.closedAs(uid); got != controllers.AftermathHealed {
			t.Errorf("%s: %q", uid, got)
		}
	}
	if len(s.events) != 2*n {
		t.Errorf("%d events, want %d", len(s.events), 2*n)
	}
}
