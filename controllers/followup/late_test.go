package followup

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/probes"
)

// stage is a removal whose hours pass at once: an API server at the level of data, and a watch that tells what the test says.
type stage struct {
	*world
	t      *testing.T
	f      *Follower
	client *fake.Clientset
	watch  *watch.FakeWatcher
	old    *corev1.Pod
}

// onStage runs play in a bubble of time in which the pod web-1 was just removed for a cause.
func onStage(t *testing.T, cause probes.Cause, wellFor time.Duration, play func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{world: newWorld(), t: t, old: podOf("web-1", 0), watch: watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 100})}
		s.old.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
		s.old.ResourceVersion = "7"
		ending(s.old)
		s.client = fake.NewClientset(s.old)
		s.client.PrependWatchReactor("pods", func(ktesting.Action) (bool, watch.Interface, error) { return true, s.watch, nil })
		e := entryOf(s.old)
		e.At, e.Cause, e.WellFor, e.Grace = time.Now(), cause, int64(wellFor.Seconds()), 0
		e.Since = e.At.Add(-time.Minute)
		s.f, _ = s.run(t, s.client)
		s.f.Follow(e, s.old)
		play(s)
	})
}

// vanish has the removed pod end.
func (s *stage) vanish() {
	s.t.Helper()
	gone := s.old.DeepCopy()
	gone.DeletionGracePeriodSeconds = new(int64)
	if err := s.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), gone.Namespace, gone.Name); err != nil {
		s.t.Fatal(err)
	}
	s.watch.Delete(gone)
	leap(time.Second)
}

// tell makes a pod as it is from now on, and has the watch tell of it.
func (s *stage) tell(name string, change ...func(*corev1.Pod)) {
	s.t.Helper()
	s.watch.Add(s.set(name, change...))
	leap(time.Second)
}

// set is tell without the watch.
func (s *stage) set(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	s.t.Helper()
	pod := podOf(name, 0, change...)
	pod.CreationTimestamp = metav1.Now()
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	if err := s.client.Tracker().Create(pods, pod, pod.Namespace); err != nil {
		if err := s.client.Tracker().Update(pods, pod, pod.Namespace); err != nil {
			s.t.Fatal(err)
		}
	}
	return pod
}

// told is a condition of the pod's mounts that begins now; a pod that is up is ready, too.
func told(status corev1.ConditionStatus) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		mounts(status, time.Since(removal))(pod)
		ready(time.Since(removal))(pod)
	}
}

func (s *stage) expect(want controllers.Aftermath, followed int) {
	s.t.Helper()
	if got := s.end(s.old.UID); got != want || s.f.following() != followed {
		s.t.Errorf("closed as %q and %d followed, want %q and %d", got, s.f.following(), want, followed)
	}
}

const proof = 105 * time.Second

// A replacement after a hang is told healed only when it has proven itself; until then the books say that it is up.
func TestAReplacementProvesItself(t *testing.T) {
	onStage(t, probes.CauseHung, proof, func(s *stage) {
		s.vanish()
		s.do(func() { s.deaf = errAway })
		s.tell("web-2", told(corev1.ConditionTrue))
		leap(10 * time.Second)
		s.do(func() {
			if len(s.up) != 0 || s.asked < 3 || s.asked > 20 {
				t.Errorf("noted %v while the books are away, asked %d times", s.up, s.asked)
			}
			s.deaf = nil
		})
		leap(80 * time.Second)
		s.expect("", 1)
		s.do(func() {
			if len(s.up) != 1 || len(s.events) > 0 {
				t.Errorf("noted as up: %v, told: %q", s.up, s.events)
			}
		})
		leap(20 * time.Second)
		s.expect(controllers.AftermathHealed, 0)
		s.expectNote(t, "its mounts have been healthy for 1m45s")
	})
}

// What was silent during the proof is asked for before a success: a watch may have died.
func TestASilentWatchProvesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *stage)
		want   controllers.Aftermath
	}{
		"it is broken":  {func(s *stage) { s.set("web-2", told(corev1.ConditionFalse)) }, controllers.AftermathStillBroken},
		"it crashed":    {func(s *stage) { s.set("web-2", mounts("True", 0)) }, ""},
		"it is another": {func(s *stage) { s.set("web-2", told(corev1.ConditionTrue), uid("another")) }, ""},
		"it is well":    {func(*stage) {}, controllers.AftermathHealed},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, probes.CauseHung, proof, func(s *stage) {
				s.vanish()
				s.tell("web-2", told(corev1.ConditionTrue))
				leap(time.Minute)
				tc.change(s)
				leap(time.Minute)
				if got := s.end(s.old.UID); got != tc.want {
					t.Errorf("closed as %q, want %q", got, tc.want)
				}
			})
		})
	}
}

// A replacement that is only late frees its owner all the same, whoever else is broken.
func TestHealedAfterAll(t *testing.T) {
	onStage(t, probes.CauseDisconnected, 0, func(s *stage) {
		s.vanish()
		leap(6 * time.Minute)
		s.expect(controllers.AftermathNoSuccessor, 1)
		s.tell("web-2", told(corev1.ConditionFalse))
		s.expect(controllers.AftermathNoSuccessor, 1)
		leap(70 * time.Minute)
		s.tell("web-3", told(corev1.ConditionTrue))
		s.expect(controllers.AftermathHealed, 0)
		if want := []controllers.Aftermath{"NoSuccessor", "Healed"}; !slices.Equal(s.ended, want) {
			t.Errorf("counted %v, want %v", s.ended, want)
		}
		if s.f.late != 0 {
			t.Errorf("%d are followed late", s.f.late)
		}
	})
}

// The mount of a successor that was broken as well answers again when the backend does: nobody else would tell. One whose daemon is dead is
// removed in turn.
func TestASuccessorRecovers(t *testing.T) {
	onStage(t, probes.CauseHung, proof, func(s *stage) {
		s.vanish()
		s.tell("web-2", told(corev1.ConditionFalse))
		s.expect(controllers.AftermathStillBroken, 1)
		leap(time.Hour)
		s.tell("web-2", told(corev1.ConditionTrue))
		leap(proof - 10*time.Second)
		s.expect(controllers.AftermathStillBroken, 1)
		leap(10 * time.Second)
		s.expect(controllers.AftermathHealed, 0)
	})
	onStage(t, probes.CauseDisconnected, 0, func(s *stage) {
		s.vanish()
		s.tell("web-2", told(corev1.ConditionFalse))
		s.expect(controllers.AftermathStillBroken, 0)
	})
}

// A removed pod that is still there is not healed by whatever becomes healthy long after.
func TestWhatDoesNotEndIsNotHealedLate(t *testing.T) {
	onStage(t, probes.CauseDisconnected, 0, func(s *stage) {
		leap(6 * time.Minute)
		s.expect(controllers.AftermathStuckTerminating, 1)
		leap(50 * time.Minute)
		s.tell("web-0", told(corev1.ConditionTrue))
		s.expect(controllers.AftermathStuckTerminating, 1)
		s.vanish()
		s.expect(controllers.AftermathHealed, 0)
	})
}

// Pods that their authors keep from ending are followed as long as there is room, and the namespace with the most of them gives way.
func TestFollowedIsBounded(t *testing.T) {
	onStage(t, probes.CauseDisconnected, 0, func(s *stage) {
		for i := range 3 * maxFollowed {
			pod := podOf(fmt.Sprint("stays-", i), 0, ending)
			e := entryOf(pod)
			e.At, e.Namespace, e.Grace = time.Now(), "tenant", tenYears
			s.f.Follow(e, pod)
		}
		leap(time.Second)
		if n := s.f.following(); n != maxFollowed {
			t.Errorf("%d are followed, want %d", n, maxFollowed)
		}
		if s.f.since(s.old.UID).IsZero() || s.f.since(types.UID(fmt.Sprint("uid-of-stays-", 3*maxFollowed-1))).IsZero() {
			t.Error("another namespace's, or the latest, is followed no more")
		}
	})
}

const tenYears = 10 * 365 * 24 * 60 * 60

// To be followed for long is bounded, in time and in number.
func TestLateIsBounded(t *testing.T) {
	onStage(t, probes.CauseDisconnected, 0, func(s *stage) {
		s.f.mu.Lock()
		s.f.late = maxLate - 1
		s.f.mu.Unlock()
		s.vanish()
		leap(6 * time.Minute)
		s.expect(controllers.AftermathNoSuccessor, 1)
		if s.f.enterLate() {
			t.Error("one more than there is room for")
		}
		leap(lateFor)
		s.expect(controllers.AftermathNoSuccessor, 0)
		if s.f.late != maxLate-1 {
			t.Errorf("%d are followed late, want %d", s.f.late, maxLate-1)
		}
	})
	onStage(t, probes.CauseDisconnected, 0, func(s *stage) {
		s.f.mu.Lock()
		s.f.late = maxLate
		s.f.mu.Unlock()
		s.vanish()
		leap(6 * time.Minute)
		s.expect(controllers.AftermathNoSuccessor, 0)
	})
}
