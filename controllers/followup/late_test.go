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

// fakeScenario is an eviction whose hours pass at once: a fake clientset, and a watch whose events
// the test chooses.
type fakeScenario struct {
	*fakeParts
	t      *testing.T
	f      *Follower
	client *fake.Clientset
	watch  *watch.FakeWatcher
	old    *corev1.Pod
}

// runFakeScenario runs play in a synctest bubble in which the pod web-1 was just evicted for a
// cause.
func runFakeScenario(t *testing.T, cause probes.Cause, wellFor time.Duration, play func(s *fakeScenario)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeScenario{fakeParts: newFakeParts(), t: t, old: podOf("web-1", 0), watch: watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 100})}
		s.old.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
		s.old.ResourceVersion = "7"
		ending(s.old)
		s.client = fake.NewClientset(s.old)
		s.client.PrependWatchReactor("pods", func(ktesting.Action) (bool, watch.Interface, error) { return true, s.watch, nil })
		e := entryOf(s.old)
		e.At, e.Cause, e.WellFor, e.Grace = time.Now(), cause, int64(wellFor.Seconds()), 0
		e.Since = e.At.Add(-time.Minute)
		s.f, _ = s.startFollower(t, s.client)
		s.f.Follow(e, s.old)
		play(s)
	})
}

// endRemovedPod lets the evicted pod end.
func (s *fakeScenario) endRemovedPod() {
	s.t.Helper()
	gone := s.old.DeepCopy()
	gone.DeletionGracePeriodSeconds = new(int64)
	if err := s.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), gone.Namespace, gone.Name); err != nil {
		s.t.Fatal(err)
	}
	s.watch.Delete(gone)
	advanceTime(time.Second)
}

// updatePod stores a pod as it is from now on, and sends a watch event.
func (s *fakeScenario) updatePod(name string, change ...func(*corev1.Pod)) {
	s.t.Helper()
	s.watch.Add(s.storePod(name, change...))
	advanceTime(time.Second)
}

// storePod stores a pod without a watch event.
func (s *fakeScenario) storePod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
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

// mountsReported is a condition of the pod's mounts that begins now. A pod that is up is ready,
// too.
func mountsReported(status corev1.ConditionStatus) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		mounts(status, time.Since(removal))(pod)
		ready(time.Since(removal))(pod)
	}
}

func (s *fakeScenario) expect(want controllers.Aftermath, followed int) {
	s.t.Helper()
	if got := s.closedAs(s.old.UID); got != want || s.f.following() != followed {
		s.t.Errorf("closed as %q and %d followed, want %q and %d", got, s.f.following(), want, followed)
	}
}

const proof = 105 * time.Second

// A replacement after a hang is a success only when it has proven itself. Until then the ledger
// says that it is up.
func TestAReplacementProvesItself(t *testing.T) {
	runFakeScenario(t, probes.CauseHung, proof, func(s *fakeScenario) {
		s.endRemovedPod()
		s.withLock(func() { s.ledgerErr = errAway })
		s.updatePod("web-2", mountsReported(corev1.ConditionTrue))
		advanceTime(10 * time.Second)
		s.withLock(func() {
			if len(s.up) != 0 || s.ledgerCalls < 3 || s.ledgerCalls > 20 {
				t.Errorf("noted %v while the ledger is away, asked %d times", s.up, s.ledgerCalls)
			}
			s.ledgerErr = nil
		})
		advanceTime(80 * time.Second)
		s.expect("", 1)
		s.withLock(func() {
			if len(s.up) != 1 || len(s.events) > 0 {
				t.Errorf("noted as up: %v, told: %q", s.up, s.events)
			}
		})
		advanceTime(20 * time.Second)
		s.expect(controllers.AftermathHealed, 0)
		s.expectNote(t, "its mounts have been healthy for 1m45s")
	})
}

// What was silent during the proof is read before it is a success: the watch may be dead.
func TestASilentWatchProvesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *fakeScenario)
		want   controllers.Aftermath
	}{
		"it is broken":  {func(s *fakeScenario) { s.storePod("web-2", mountsReported(corev1.ConditionFalse)) }, controllers.AftermathStillBroken},
		"it crashed":    {func(s *fakeScenario) { s.storePod("web-2", mounts("True", 0)) }, ""},
		"it is another": {func(s *fakeScenario) { s.storePod("web-2", mountsReported(corev1.ConditionTrue), uid("another")) }, ""},
		"it is well":    {func(*fakeScenario) {}, controllers.AftermathHealed},
	} {
		t.Run(name, func(t *testing.T) {
			runFakeScenario(t, probes.CauseHung, proof, func(s *fakeScenario) {
				s.endRemovedPod()
				s.updatePod("web-2", mountsReported(corev1.ConditionTrue))
				advanceTime(time.Minute)
				tc.change(s)
				advanceTime(time.Minute)
				if got := s.closedAs(s.old.UID); got != tc.want {
					t.Errorf("closed as %q, want %q", got, tc.want)
				}
			})
		})
	}
}

// A late replacement frees its owner all the same, whichever other pods are broken.
func TestHealedLate(t *testing.T) {
	runFakeScenario(t, probes.CauseDisconnected, 0, func(s *fakeScenario) {
		s.endRemovedPod()
		advanceTime(6 * time.Minute)
		s.expect(controllers.AftermathNoSuccessor, 1)
		s.updatePod("web-2", mountsReported(corev1.ConditionFalse))
		s.expect(controllers.AftermathNoSuccessor, 1)
		advanceTime(70 * time.Minute)
		s.updatePod("web-3", mountsReported(corev1.ConditionTrue))
		s.expect(controllers.AftermathHealed, 0)
		if want := []controllers.Aftermath{"NoSuccessor", "Healed"}; !slices.Equal(s.ended, want) {
			t.Errorf("counted %v, want %v", s.ended, want)
		}
		if s.f.lateCount != 0 {
			t.Errorf("%d are followed late", s.f.lateCount)
		}
	})
}

// The mount of a replacement that was broken as well answers again when the backend does, and
// nothing else would report that. One whose daemon is dead is evicted itself.
func TestReplacementRecovers(t *testing.T) {
	runFakeScenario(t, probes.CauseHung, proof, func(s *fakeScenario) {
		s.endRemovedPod()
		s.updatePod("web-2", mountsReported(corev1.ConditionFalse))
		s.expect(controllers.AftermathStillBroken, 1)
		advanceTime(time.Hour)
		s.updatePod("web-2", mountsReported(corev1.ConditionTrue))
		advanceTime(proof - 10*time.Second)
		s.expect(controllers.AftermathStillBroken, 1)
		advanceTime(10 * time.Second)
		s.expect(controllers.AftermathHealed, 0)
	})
	runFakeScenario(t, probes.CauseDisconnected, 0, func(s *fakeScenario) {
		s.endRemovedPod()
		s.updatePod("web-2", mountsReported(corev1.ConditionFalse))
		s.expect(controllers.AftermathStillBroken, 0)
	})
}

// An evicted pod that still exists is not healed by what becomes healthy long after.
func TestWhatDoesNotEndIsNotHealedLate(t *testing.T) {
	runFakeScenario(t, probes.CauseDisconnected, 0, func(s *fakeScenario) {
		advanceTime(6 * time.Minute)
		s.expect(controllers.AftermathStuckTerminating, 1)
		advanceTime(50 * time.Minute)
		s.updatePod("web-0", mountsReported(corev1.ConditionTrue))
		s.expect(controllers.AftermathStuckTerminating, 1)
		s.endRemovedPod()
		s.expect(controllers.AftermathHealed, 0)
	})
}

// Pods that their authors keep from ending are followed as long as there is room, and the namespace
// with the most of them gives way.
func TestFollowedIsBounded(t *testing.T) {
	runFakeScenario(t, probes.CauseDisconnected, 0, func(s *fakeScenario) {
		for i := range 3 * maxFollowed {
			pod := podOf(fmt.Sprint("stays-", i), 0, ending)
			e := entryOf(pod)
			e.At, e.Namespace, e.Grace = time.Now(), "tenant", tenYears
			s.f.Follow(e, pod)
		}
		advanceTime(time.Second)
		if n := s.f.following(); n != maxFollowed {
			t.Errorf("%d are followed, want %d", n, maxFollowed)
		}
		if s.f.since(s.old.UID).IsZero() || s.f.since(types.UID(fmt.Sprint("uid-of-stays-", 3*maxFollowed-1))).IsZero() {
			t.Error("another namespace's, or the latest, is followed no more")
		}
	})
}

const tenYears = 10 * 365 * 24 * 60 * 60

// Following beyond the result is bounded, in time and in number.
func TestLateIsBounded(t *testing.T) {
	runFakeScenario(t, probes.CauseDisconnected, 0, func(s *fakeScenario) {
		s.f.mu.Lock()
		s.f.lateCount = maxLate - 1
		s.f.mu.Unlock()
		s.endRemovedPod()
		advanceTime(6 * time.Minute)
		s.expect(controllers.AftermathNoSuccessor, 1)
		if s.f.reserveLate() {
			t.Error("one more than there is room for")
		}
		advanceTime(lateTime)
		s.expect(controllers.AftermathNoSuccessor, 0)
		if s.f.lateCount != maxLate-1 {
			t.Errorf("%d are followed late, want %d", s.f.lateCount, maxLate-1)
		}
	})
	runFakeScenario(t, probes.CauseDisconnected, 0, func(s *fakeScenario) {
		s.f.mu.Lock()
		s.f.lateCount = maxLate
		s.f.mu.Unlock()
		s.endRemovedPod()
		advanceTime(6 * time.Minute)
		s.expect(controllers.AftermathNoSuccessor, 0)
	})
}
