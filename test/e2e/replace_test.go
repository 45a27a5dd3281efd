package e2e

import (
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/mountwarden/mountwarden/test/world"
)

func TestADeadDaemonReplacesThePod(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched(), Mounts: []world.Mount{{Container: "app", Volume: "data"}, {Container: "other"}}})[0]
	s.reads(&pod, "app", "data")
	s.watched(&pod, "data")
	owner := s.owner(&pod)

	broken := s.kill(&pod, "app", "data")
	life := s.ended(&pod, true)
	for _, object := range []metav1.Object{&pod, owner} {
		for _, reason := range []string{"MountUnhealthy", "PodRemediated"} {
			if e := s.event(object, reason); e.Time.Sub(life.Ending) > eventDelay || e.Time.Before(broken.Add(-time.Second)) {
				t.Errorf("%s on %s at %s; broken at %s, evicted at %s", reason, object.GetName(), e.Time, broken, life.Ending)
			}
		}
	}
	if note := s.event(&pod, "PodRemediated").Note; !strings.Contains(note, "ENOTCONN") || !strings.Contains(note, "data") || !strings.Contains(note, "container app") {
		t.Errorf("the event does not say what was broken: %s", note)
	}
	successor := s.ready("app", 1)[0]
	if successor.UID == pod.UID {
		t.Fatal("the pod was not replaced")
	}
	if !maps.Equal(successor.Labels, pod.Labels) {
		t.Errorf("labels are %v, were %v", successor.Labels, pod.Labels)
	}
	for _, c := range successor.Status.ContainerStatuses {
		if c.RestartCount != 0 || containerID(&pod, c.Name) == c.ContainerID {
			t.Errorf("container %s was not started afresh with the others: %+v", c.Name, c)
		}
	}
	s.reads(&successor, "app", "data")
	s.watched(&successor, "data")
	if n := s.history.Pods(); n != 2 {
		t.Errorf("%d pods were made, want the first and its successor", n)
	}
}

func containerID(pod *corev1.Pod, name string) string {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == name {
			return c.ContainerID
		}
	}
	return ""
}

func TestPodsThatMustStay(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	unwatched := s.deploy(world.App{Name: "unwatched"})[0]
	healthy := s.deploy(world.App{Name: "healthy", Annotations: world.Watched()})[0]
	reported := s.deploy(world.App{Name: "reported", Annotations: world.Watched("mode", "Report")})[0]
	s.watched(&healthy, "data")
	s.watched(&reported, "data")

	s.kill(&unwatched, "app", "data")
	s.kill(&reported, "app", "data")
	s.event(&reported, "MountUnhealthy")
	s.staysFor(untouched, unwatched, healthy, reported)

	s.reads(&healthy, "app", "data")
	for _, pod := range []corev1.Pod{unwatched, healthy} {
		for reason := range s.reasons(&pod) {
			if strings.HasPrefix(reason, "Mount") || strings.HasPrefix(reason, "Remediation") {
				t.Errorf("event %s on %s", reason, pod.Name)
			}
		}
	}
	counts := s.reasons(&reported)
	if counts["MountUnhealthy"] != 1 || counts["RemediationHeld"] != 1 || counts["PodRemediated"] != 0 {
		t.Errorf("events on the pod in Report mode: %v", counts)
	}
}

func TestAHangThatEndsIsForgiven(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched("period-seconds", "2", "timeout-seconds", "2", "hang-seconds", "30")})[0]
	s.watched(&pod, "data")

	must(t, s.Fault(s.ctx, &pod, "data", "stop"))
	s.state(&pod, "Suspect", "Hung")
	must(t, s.Fault(s.ctx, &pod, "data", "cont"))
	s.state(&pod, "Healthy", "")
	s.staysFor(40*time.Second, pod)
	s.reads(&pod, "app", "data")
}

// state waits until the agent says this of the pod's volume "data", and returns when it was seen to.
func (s *scene) state(pod *corev1.Pod, state, cause string) time.Time {
	s.Helper()
	err := world.Until(s.within(patience), pod.Name+" to be "+state, stateIs(s, pod, state, cause))
	must(s.T, err)
	return time.Now()
}

// One after the other, and of a driver of their own: while the replacement of a hung pod proves
// itself, no other hung pod of its backend is evicted.
func TestAHangThatLastsReplacesThePod(t *testing.T) {
	t.Parallel()
	s := newDriverScene(t)
	const hang = 8 * time.Second
	for _, fault := range []string{"stop", "hang"} {
		pod := s.deploy(world.App{Name: fault, Annotations: world.Watched("period-seconds", "2", "timeout-seconds", "2", "hang-seconds", "8")})[0]
		s.watched(&pod, "data")
		broken := time.Now()
		must(t, s.driver.Fault(s.ctx, &pod, "data", fault))
		life := s.ended(&pod, true)
		took := life.Ending.Sub(broken)
		t.Logf("%s: evicted %s after it stopped answering", pod.Name, took.Round(time.Millisecond))
		if took < hang || took > hang+20*time.Second {
			t.Errorf("%s was removed after %s, want between hang-seconds (%s) and 20 s more", pod.Name, took, hang)
		}
		successor := s.ready(fault, 1)[0]
		s.reads(&successor, "app", "data")
		up := s.state(&successor, "Healthy", "")
		proven := s.event(&successor, "SuccessorHealthy").Time.Sub(up)
		t.Logf("%s: told healed %s after its mounts were healthy", successor.Name, proven.Round(time.Second))
		if proven < hang {
			t.Errorf("%s is told healed after %s, sooner than its predecessor's hang has shown (%s)", successor.Name, proven, hang)
		}
	}
}

func TestOneOfTwoVolumesInOneOfTwoContainers(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	// It settles, so that the other volume can still be read after one is dead: the agent is faster than an exec.
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched("settle-seconds", "10"), Mounts: []world.Mount{
		{Container: "first", Volume: "data"}, {Container: "second", Volume: "data"}, {Container: "second", Volume: "cache"},
	}})[0]
	s.watched(&pod, "data", "cache")

	s.kill(&pod, "second", "cache")
	s.reads(&pod, "first", "data")
	s.ended(&pod, true)
	if note := s.event(&pod, "MountUnhealthy").Note; !strings.Contains(note, "container second") || !strings.Contains(note, "cache") {
		t.Errorf("the event names another mount: %s", note)
	}
	successor := s.ready("app", 1)[0]
	s.reads(&successor, "first", "data")
	s.reads(&successor, "second", "cache")
}

func TestABudgetHoldsThenADefinitiveCauseWins(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	none := intstr.FromInt32(0)
	_, err := s.Client.PolicyV1().PodDisruptionBudgets(s.namespace).Create(s.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "none"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &none, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "app"}}},
	}, metav1.CreateOptions{})
	must(t, err)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched()})[0]
	s.watched(&pod, "data")

	s.kill(&pod, "app", "data")
	blocked := s.event(&pod, "RemediationBlocked")
	life := s.ended(&pod, false)
	if held := life.Ending.Sub(blocked.Time); held < 29*time.Second || held > 45*time.Second {
		t.Errorf("deleted %s after the first refusal, want blockedSeconds (30 s)", held)
	}
	s.event(&pod, "PodRemediated")
	successor := s.ready("app", 1)[0]
	s.reads(&successor, "app", "data")
}

func TestABarePodIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	app := world.App{Namespace: s.namespace, Name: "bare", Annotations: world.Watched("period-seconds", "1")}
	_, err := s.Client.CoreV1().Pods(s.namespace).Create(s.ctx, app.Pod(), metav1.CreateOptions{})
	must(t, err)
	pod := s.ready("bare", 1)[0]
	s.watched(&pod, "data")

	s.kill(&pod, "app", "data")
	if note := s.event(&pod, "RemediationHeld").Note; !strings.Contains(note, "allow-unmanaged") {
		t.Errorf("the event does not say what to do: %s", note)
	}
	s.staysFor(20*time.Second, pod)
	if n := s.reasons(&pod)["RemediationHeld"]; n != 1 {
		t.Errorf("%d events for one refusal", n)
	}
}

func TestAnInvalidAnnotationOnlyReports(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched("period-seconds", "soon")})[0]
	s.watched(&pod, "data")
	if note := s.event(&pod, "InvalidMountPolicy").Note; !strings.Contains(note, "period-seconds") || !strings.Contains(note, "soon") {
		t.Errorf("the event does not name key and value: %s", note)
	}
	s.kill(&pod, "app", "data")
	s.event(&pod, "MountUnhealthy")
	s.event(&pod, "RemediationHeld")
	s.staysFor(20*time.Second, pod)
}
