package followup

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/ledger"
)

var removal = time.Date(2026, 1, 2, 3, 4, 5, 500e6, time.UTC)

func after(d time.Duration) time.Time { return removal.Add(d) }

// podOf returns a pod of a ReplicaSet that was created some time after the eviction.
func podOf(name string, created time.Duration, change ...func(*corev1.Pod)) *corev1.Pod {
	yes := true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID("uid-of-" + name), CreationTimestamp: metav1.NewTime(after(created).Truncate(time.Second)),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "web", Controller: &yes}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, c := range change {
		c(pod)
	}
	return pod
}

func mounts(status corev1.ConditionStatus, since time.Duration) func(*corev1.Pod) {
	return condition(controllers.ConditionMountsHealthy, status, since)
}

func ready(since time.Duration) func(*corev1.Pod) {
	return condition(corev1.PodReady, corev1.ConditionTrue, since)
}

func condition(kind corev1.PodConditionType, status corev1.ConditionStatus, since time.Duration) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: metav1.NewTime(after(since))})
	}
}

func phase(p corev1.PodPhase) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.Phase = p }
}

func ending(pod *corev1.Pod) { pod.DeletionTimestamp = &metav1.Time{Time: removal} }

func ownedBy(uid types.UID) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.OwnerReferences[0].UID = uid }
}

// watched is probed every 10 s; a mount that does not answer within 5 s hangs after 70 s: in 95 s
// its agent has reported.
func watched(pod *corev1.Pod) {
	pod.Annotations = map[string]string{
		config.AnnotationWatch: "true", config.AnnotationPeriodSeconds: "10", config.AnnotationTimeoutSeconds: "5", config.AnnotationHangSeconds: "70",
	}
	pod.Spec.Volumes = []corev1.Volume{apitest.Volume("data")}
	pod.Spec.Containers = []corev1.Container{{Name: "app", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}}}
}

func bare(pod *corev1.Pod) { pod.OwnerReferences = nil }

func uid(u types.UID) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.UID = u }
}

// entryOf is the eviction of a pod at the time removal; its grace period is 30 s.
func entryOf(pod *corev1.Pod) ledger.Entry {
	return ledger.Entry{
		At: removal, Node: "node-1", Namespace: pod.Namespace, Pod: pod.Name, PodUID: pod.UID, Owner: ledger.OwnerOf(pod),
		Cause: "Disconnected", Since: removal.Add(-2 * time.Second), Grace: 30, Selector: ledger.SelectorFor(pod),
	}
}

// FollowUpSeconds and the grace period end at 330 s.
const beforeDeadline, afterDeadline = 100 * time.Second, 331 * time.Second

func TestJudge(t *testing.T) {
	old := podOf("old", -time.Hour, ending)
	for _, tc := range []struct {
		name string
		seen []*corev1.Pod
		now  time.Duration
		want controllers.Aftermath
		best string
		at   time.Duration // 0: now
	}{
		{"nothing yet", nil, beforeDeadline, "", "", 0},
		{"no successor", nil, afterDeadline, "NoSuccessor", "", 0},
		{"still there", []*corev1.Pod{old}, beforeDeadline, "", "", 0},
		{"still there for too long", []*corev1.Pod{old}, afterDeadline, "StuckTerminating", "", 0},
		{"still there beside a successor that is not up", []*corev1.Pod{old, podOf("new", 1)}, afterDeadline, "StuckTerminating", "new", 0},
		{"still there beside a healthy successor", []*corev1.Pod{old, podOf("new", 1, mounts("True", 5*time.Second))}, beforeDeadline, "Healed", "new", 5 * time.Second},
		{"healthy", []*corev1.Pod{podOf("new", 1, mounts("True", 7*time.Second))}, beforeDeadline, "Healed", "new", 7 * time.Second},
		{"healthy by a clock that is ahead", []*corev1.Pod{podOf("new", 1, mounts("True", time.Hour))}, beforeDeadline, "Healed", "new", 0},
		{"healthy by a clock that is behind", []*corev1.Pod{podOf("new", 1, mounts("True", -time.Hour))}, beforeDeadline, "Healed", "new", 0},
		{"broken", []*corev1.Pod{podOf("new", 1, mounts("False", 7*time.Second))}, beforeDeadline, "StillBroken", "new", 7 * time.Second},
		{"not to be judged", []*corev1.Pod{podOf("new", 1, mounts("Unknown", 7*time.Second), ready(time.Second))}, beforeDeadline, "", "", 0},
		{"not to be judged for too long", []*corev1.Pod{podOf("new", 1, mounts("Unknown", 7*time.Second), ready(time.Second))}, afterDeadline, "StuckCreating", "new", 0},
		{"ready with no agent, not for long", []*corev1.Pod{podOf("new", 1, ready(beforeDeadline-59*time.Second))}, beforeDeadline, "", "", 0},
		{"ready with no agent", []*corev1.Pod{podOf("new", 1, ready(40*time.Second))}, beforeDeadline, "Healed", "new", 40 * time.Second},
		{"ready and watched, its agent may not know yet", []*corev1.Pod{podOf("new", 1, watched, ready(beforeDeadline-94*time.Second))}, beforeDeadline, "", "", 0},
		{"ready and watched, and nobody tells", []*corev1.Pod{podOf("new", 1, watched, ready(beforeDeadline-95*time.Second))}, beforeDeadline, "Healed", "new", 5 * time.Second},
		{"ready, but broken", []*corev1.Pod{podOf("new", 1, ready(time.Second), mounts("False", time.Minute))}, beforeDeadline, "StillBroken", "new", time.Minute},
		{"pending", []*corev1.Pod{podOf("new", 1, phase(corev1.PodPending))}, beforeDeadline, "", "", 0},
		{"pending for too long", []*corev1.Pod{podOf("new", 1, phase(corev1.PodPending))}, afterDeadline, "StuckCreating", "new", 0},
		{"a Job's that has succeeded", []*corev1.Pod{podOf("new", 1, phase(corev1.PodSucceeded))}, beforeDeadline, "Healed", "new", 0},
		{"a Job's that has failed", []*corev1.Pod{podOf("new", 1, phase(corev1.PodFailed))}, beforeDeadline, "", "", 0},
		{"made within the same second", []*corev1.Pod{podOf("new", 0, mounts("True", time.Second))}, beforeDeadline, "Healed", "new", time.Second},
		{"made by a clock that is behind", []*corev1.Pod{podOf("new", -1500*time.Millisecond, mounts("True", time.Second))}, beforeDeadline, "Healed", "new", time.Second},
		{"a sibling of before", []*corev1.Pod{podOf("new", -4*time.Second, mounts("True", time.Second))}, afterDeadline, "NoSuccessor", "", 0},
		{"of another owner", []*corev1.Pod{podOf("new", 1, ownedBy("api"), mounts("True", time.Second))}, afterDeadline, "NoSuccessor", "", 0},
		{"of no owner", []*corev1.Pod{podOf("new", 1, bare, mounts("True", time.Second))}, afterDeadline, "NoSuccessor", "", 0},
		{"ending itself", []*corev1.Pod{podOf("new", 1, ending, mounts("True", time.Second))}, afterDeadline, "NoSuccessor", "", 0},
		{"the healthy one of several", []*corev1.Pod{podOf("a", 1, mounts("False", 1)), podOf("b", 1), podOf("c", 2, mounts("True", 9*time.Second)), podOf("d", 3, ready(1))},
			beforeDeadline, "Healed", "c", 9 * time.Second},
		{"the broken one of several", []*corev1.Pod{podOf("a", 1), podOf("b", 1, mounts("False", 9*time.Second))}, beforeDeadline, "StillBroken", "b", 9 * time.Second},
		{"the oldest of several", []*corev1.Pod{podOf("a", 2*time.Second), podOf("b", 1)}, afterDeadline, "StuckCreating", "b", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state := newRemovalState(entryOf(old), removal, config.Default())
			for _, pod := range tc.seen {
				state.observePod(pod, after(0))
			}
			expect(t, state.judgeReplacements(after(tc.now)), tc.want, tc.best, after(max(tc.at, 0)), after(tc.now))
		})
	}
}

// A replacement after a cause that the backend may have is healthy only after it was healthy for
// long, by the follower's own clock.
func TestWhatMustProveItself(t *testing.T) {
	const proof = 100 * time.Second
	for _, tc := range []struct {
		name string
		seen []*corev1.Pod   // in this order
		at   []time.Duration // when each was seen
		now  time.Duration
		want controllers.Aftermath
		next time.Duration // when it is judged the next time, unless something comes; 0: never
	}{
		{"well for a moment", []*corev1.Pod{podOf("new", 1, mounts("True", time.Second), ready(1))}, []time.Duration{2 * time.Second}, 3 * time.Second, "", 102 * time.Second},
		{"nearly for long", []*corev1.Pod{podOf("new", 1, mounts("True", time.Second), ready(1))}, []time.Duration{2 * time.Second}, 101 * time.Second, "", 102 * time.Second},
		{"for long", []*corev1.Pod{podOf("new", 1, mounts("True", time.Second), ready(1))}, []time.Duration{2 * time.Second}, 102 * time.Second, "Healed", 330 * time.Second},
		{"a clock that is behind says nothing", []*corev1.Pod{podOf("new", 1, mounts("True", -time.Hour), ready(1))}, []time.Duration{2 * time.Second}, 101 * time.Second, "", 102 * time.Second},
		{"seen again", []*corev1.Pod{podOf("new", 1, mounts("True", 1), ready(1)), podOf("new", 1, mounts("True", 1), ready(1))},
			[]time.Duration{2 * time.Second, 90 * time.Second}, 102 * time.Second, "Healed", 330 * time.Second},
		{"broken in between, and nobody saw it", []*corev1.Pod{podOf("new", 1, mounts("True", 1), ready(1)), podOf("new", 1, mounts("True", 60*time.Second), ready(1))},
			[]time.Duration{2 * time.Second, 62 * time.Second}, 110 * time.Second, "", 162 * time.Second},
		{"broken", []*corev1.Pod{podOf("new", 1, mounts("True", 1), ready(1)), podOf("new", 1, mounts("False", 55*time.Second))},
			[]time.Duration{2 * time.Second, 55 * time.Second}, 56 * time.Second, "StillBroken", 330 * time.Second},
		{"well at the deadline, not for long", []*corev1.Pod{podOf("new", 1, mounts("True", 300*time.Second), ready(1))}, []time.Duration{300 * time.Second}, 331 * time.Second, "", 400 * time.Second},
		{"well beyond the deadline", []*corev1.Pod{podOf("new", 1, mounts("True", 300*time.Second), ready(1))}, []time.Duration{300 * time.Second}, 400 * time.Second, "Healed", 0},
		{"well, and not up", []*corev1.Pod{podOf("new", 1, mounts("True", 1))}, []time.Duration{2 * time.Second}, 110 * time.Second, "", 330 * time.Second},
		{"well, and never up", []*corev1.Pod{podOf("new", 1, mounts("True", 1))}, []time.Duration{2 * time.Second}, 331 * time.Second, "StuckCreating", 0},
		{"a container crashed in between", []*corev1.Pod{podOf("new", 1, mounts("True", 1), ready(1)), podOf("new", 1, mounts("True", 1)), podOf("new", 1, mounts("True", 1), ready(1))},
			[]time.Duration{2 * time.Second, 30 * time.Second, 40 * time.Second}, 110 * time.Second, "", 140 * time.Second},
		{"and nobody saw it", []*corev1.Pod{podOf("new", 1, mounts("True", 1), ready(1)), podOf("new", 1, mounts("True", 1), ready(1), restarted)},
			[]time.Duration{2 * time.Second, 40 * time.Second}, 110 * time.Second, "", 140 * time.Second},
		{"no agent tells, ready for a minute", []*corev1.Pod{podOf("new", 1, ready(2*time.Second))}, []time.Duration{2 * time.Second}, 63 * time.Second, "", 162 * time.Second},
		{"no agent tells, ready for long", []*corev1.Pod{podOf("new", 1, ready(2*time.Second))}, []time.Duration{2 * time.Second}, 162 * time.Second, "Healed", 330 * time.Second},
		{"a Job's that has succeeded", []*corev1.Pod{podOf("new", 1, phase(corev1.PodSucceeded))}, []time.Duration{2 * time.Second}, 3 * time.Second, "Healed", 330 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := entryOf(podOf("old", -time.Hour, ending))
			e.WellFor = int64(proof.Seconds())
			state := newRemovalState(e, removal, config.Default())
			for i, pod := range tc.seen {
				state.observePod(pod, after(tc.at[i]))
			}
			if got := state.judgeReplacements(after(tc.now)); got.aftermath != tc.want {
				t.Errorf("%q, want %q", got.aftermath, tc.want)
			}
			want := time.Time{}
			if tc.next > 0 {
				want = after(tc.next)
			}
			if got := state.nextChangeAt(after(tc.now)); !got.Equal(want) {
				t.Errorf("judged next in %s, want %s", got.Sub(removal), tc.next)
			}
		})
	}
}

func restarted(pod *corev1.Pod) {
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", RestartCount: 1}}
}

// expect compares a result. Its time is now unless at is set.
func expect(t *testing.T, f followUpResult, want controllers.Aftermath, best string, at, now time.Time) {
	t.Helper()
	if at.Equal(removal) {
		at = now
	}
	name := ""
	if f.replacement != nil {
		name = f.replacement.ref.Name
	}
	if f.aftermath != want || name != best || want != "" && !f.at.Equal(at) {
		t.Errorf("%q by %q at %s, want %q by %q at %s", f.aftermath, name, f.at.Sub(removal), want, best, at.Sub(removal))
	}
}

// A bare pod has no owner but its name; its replacement has another UID.
func TestJudgeBarePod(t *testing.T) {
	old := podOf("old", -time.Hour, bare)
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		want controllers.Aftermath
	}{
		{"the same name", podOf("old", 1, bare, uid("other"), mounts("True", 1)), "Healed"},
		{"another name", podOf("new", 1, bare, mounts("True", 1)), "NoSuccessor"},
		{"the same name of a controller", podOf("old", 1, uid("other"), mounts("True", 1)), "NoSuccessor"},
		{"itself", podOf("old", 1, bare, mounts("True", 1)), "StuckTerminating"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state := newRemovalState(entryOf(old), removal, config.Default())
			state.observePod(tc.pod, after(0))
			if got := state.judgeReplacements(after(afterDeadline)); got.aftermath != tc.want {
				t.Errorf("%q, want %q", got.aftermath, tc.want)
			}
		})
	}
}

func TestForgottenSuccessor(t *testing.T) {
	state := newRemovalState(entryOf(podOf("old", -time.Hour)), removal, config.Default())
	pod := podOf("new", 1, mounts("False", 1))
	state.observePod(pod, after(0))
	state.discardPod(pod.UID)
	state.observePod(nil, after(0))
	if got := state.judgeReplacements(after(beforeDeadline)); got.aftermath != "" {
		t.Errorf("%q by a pod that is gone", got.aftermath)
	}
}

// A pod that an ordered watch shows before the evicted pod is terminating, or as changed only, is
// no replacement, however young it seems.
func TestSiblingsAreNoSuccessors(t *testing.T) {
	removed := podOf("old", -time.Hour)
	healthy := mounts("True", 0)
	state := newRemovalState(entryOf(removed), removal, config.Default())
	meet := func(pod *corev1.Pod, made bool) {
		state.markSibling(pod.UID, made)
		state.observePod(pod, after(0))
	}
	state.observePod(removed, after(0))
	meet(podOf("made before", -time.Second, healthy), true)
	meet(podOf("old", -time.Hour, ending), false)
	meet(podOf("changed only", -time.Second, healthy), false)
	meet(podOf("made before", -time.Second, healthy), false)
	if got := state.judgeReplacements(after(beforeDeadline)); got.aftermath != "" {
		t.Errorf("%s by %s", got.aftermath, got.replacement.ref.Name)
	}
	state.pods = map[types.UID]podSnapshot{} // the next watch begins with what is there
	state.observePod(podOf("made before", -time.Second, healthy), after(0))
	if got := state.judgeReplacements(after(beforeDeadline)); got.aftermath != "" {
		t.Errorf("after another watch: %s by %s", got.aftermath, got.replacement.ref.Name)
	}
	made := podOf("new", 0)
	meet(made, true)
	meet(podOf("new", 0, mounts("True", time.Second)), false)
	expect(t, state.judgeReplacements(after(beforeDeadline)), controllers.AftermathHealed, "new", after(time.Second), after(beforeDeadline))
}

// A pod that was gone does not come back, although a watch may begin with an older state.
func TestGoneStaysGone(t *testing.T) {
	old := podOf("old", -time.Hour)
	state := newRemovalState(entryOf(old), removal, config.Default())
	state.presence = gone
	state.observePod(old, after(0))
	if state.presence != gone {
		t.Error("back again")
	}
}

func TestWhenTimeAloneDecides(t *testing.T) {
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		want time.Duration
	}{
		{"nothing seen", nil, 330 * time.Second},
		{"ready", podOf("new", 1, ready(5*time.Second)), 65 * time.Second},
		{"ready late", podOf("new", 1, ready(300*time.Second)), 330 * time.Second},
		{"ready and told of", podOf("new", 1, ready(5*time.Second), mounts("Unknown", 1)), 330 * time.Second},
		{"ready sibling", podOf("new", -time.Hour, ready(-time.Hour)), 330 * time.Second},
		{"ready and ending", podOf("new", 1, ready(5*time.Second), ending), 330 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state := newRemovalState(entryOf(podOf("old", -time.Hour)), removal, config.Default())
			state.observePod(tc.pod, after(0))
			if got := state.nextChangeAt(removal); !got.Equal(after(tc.want)) {
				t.Errorf("in %s, want %s", got.Sub(removal), tc.want)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	for _, tc := range []struct {
		followUp        int
		grace           int64
		deadline, stuck time.Duration
	}{
		{300, 30, 330 * time.Second, 90 * time.Second},
		{300, 3600, 3900 * time.Second, 3660 * time.Second},
		{10, 0, 10 * time.Second, 10 * time.Second}, // reported at the deadline at the latest
	} {
		cfg, e := config.Default(), entryOf(podOf("old", 0))
		cfg.FollowUpSeconds, e.Grace = tc.followUp, tc.grace
		state := newRemovalState(e, removal, cfg)
		if !state.deadline.Equal(after(tc.deadline)) || !state.stuckAt.Equal(after(tc.stuck)) {
			t.Errorf("%+v: until %s, stuck at %s", tc, state.deadline.Sub(removal), state.stuckAt.Sub(removal))
		}
	}
}

func TestWhyNotUp(t *testing.T) {
	unscheduled := func(pod *corev1.Pod) {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available"}}
	}
	waiting := func(pod *corev1.Pod) {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "sidecar"}, {Name: "app", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}}
	}
	for want, pod := range map[string]*corev1.Pod{
		"Unschedulable: 0/3 nodes are available": podOf("new", 1, unscheduled),
		"container app: ContainerCreating":       podOf("new", 1, waiting),
		"Pending":                                podOf("new", 1, phase(corev1.PodPending)),
	} {
		if got := describeWaiting(pod); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
