package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

// Not parallel: it restarts the agent.
func TestTheAgentRestartsInTheMiddle(t *testing.T) {
	s := newScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched("settle-seconds", "5")})[0]
	s.watched(&pod, "data")
	agent, err := s.Agent(s.within(patience))
	must(t, err)

	s.kill(&pod, "app", "data")
	s.event(&pod, "MountUnhealthy")
	stopping := time.Now()
	must(t, s.Client.CoreV1().Pods(agent.Namespace).Delete(s.ctx, agent.Name, metav1.DeleteOptions{}))
	s.agentReplaced(agent)
	if took := time.Since(stopping); took > startup {
		t.Errorf("the agent took %s to be replaced", took)
	}
	s.onceOnly(&pod)
}

// agentReplaced waits for a ready agent with another UID.
func (s *scene) agentReplaced(old *corev1.Pod) {
	s.Helper()
	must(s.T, s.replacedAgent(s.within(patience), old))
}

func (s *scene) replacedAgent(ctx context.Context, old *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return world.Until(ctx, "another agent", func(ctx context.Context) (bool, string) {
		agent, err := s.Agent(ctx)
		if err != nil {
			return false, err.Error()
		}
		return agent.UID != old.UID, agent.Name
	})
}

// onceOnly asserts that the pod is removed, that its successor works and that nothing more is removed.
func (s *scene) onceOnly(pod *corev1.Pod) {
	s.Helper()
	s.ended(pod, true)
	successor := s.ready("app", 1)[0]
	s.reads(&successor, "app", "data")
	s.watched(&successor, "data")
	s.staysFor(15*time.Second, successor)
	must(s.T, s.history.Saw(s.within(patience), &successor))
	if n := s.history.Pods(); n != 2 {
		s.Errorf("%d pods were made, want the first and its successor", n)
	}
}

// Not parallel: it stops the API server.
func TestTheAPIServerIsAwayInTheMiddle(t *testing.T) {
	s := newScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched("settle-seconds", "10")})[0]
	s.watched(&pod, "data")
	agent, err := s.Agent(s.within(patience))
	must(t, err)

	s.kill(&pod, "app", "data")
	s.cluster("stop", "kube-apiserver")
	down := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
	defer cancel()
	<-ctx.Done() // the outage itself: there is nothing to ask
	if life := s.history.Life(pod.UID); !life.Ending.IsZero() {
		t.Fatalf("the pod was removed %s after the API server was stopped: too early to test anything", life.Ending.Sub(down))
	}
	s.cluster("start", "kube-apiserver")
	s.onceOnly(&pod)

	after, err := s.Agent(s.within(patience))
	must(t, err)
	if restarts := after.Status.ContainerStatuses[0].RestartCount; after.UID == agent.UID && restarts != agent.Status.ContainerStatuses[0].RestartCount {
		t.Errorf("the agent was restarted during the outage: %d restarts", restarts)
	}
}

// A daemon that crashes soon after its pod has started may have ended before the agent has found it. Its end is not left to the next period
// all the same. How soon that is depends on how busy the node is, so that what called for the look is counted.
//
// Not parallel: what it counts is the agent's.
func TestADaemonThatDiesEarly(t *testing.T) {
	s := newScene(t)
	announced := []string{"cause", "Disconnected", "trigger", "FUSEDaemon"}
	before := total(s.scrape()["mountwarden_detections_total"], announced)
	const deaths = 4
	for i := range deaths {
		pod := s.deploy(world.App{Name: member(i), Annotations: world.Watched("period-seconds", "60")})[0]
		s.watched(&pod, "data")
		broken := s.kill(&pod, "app", "data")
		t.Logf("evicted %s after the breakage", s.ended(&pod, true).Ending.Sub(broken).Round(time.Millisecond))
		s.event(s.replaced(&pod), "SuccessorHealthy")
	}
	metrics := s.scrape()["mountwarden_detections_total"]
	if after := total(metrics, announced); after-before != deaths {
		t.Errorf("%.0f of %d deaths were announced: %v", after-before, deaths, metrics)
	}
}

// Not parallel: its figures are the agent's own.
func TestAFleet(t *testing.T) {
	s := newScene(t)
	for i := range fleet {
		s.create(world.App{Name: member(i), Annotations: world.Watched()})
	}
	pods := s.fleet()
	t.Run("is watched in little memory", func(t *testing.T) { littleMemory(t, s) })
	t.Run("is replaced within 3 s at defaults", func(t *testing.T) { replacedWithin(t, s, pods[:kills]) })
	all := s.fleet()
	t.Run("hangs without the agent", func(t *testing.T) { hangsAlone(t, s, all) })
}

// member names one app of the fleet. Each pod has an owner of its own: of one owner one pod goes at a time.
func member(i int) string { return fmt.Sprintf("fleet-%d", i) }

// fleet returns the fleet's ready and watched pods, whose daemons are known, in the order of their apps.
func (s *scene) fleet() []corev1.Pod {
	s.Helper()
	var all []corev1.Pod
	for i := range fleet {
		all = append(all, s.ready(member(i), 1)...)
		s.watched(&all[i], "data")
	}
	s.daemonsKnown(fleet)
	return all
}

const (
	atOnce = 3 * time.Second // the promise for what is announced, from the breakage to the eviction

	fleet = 30 // pods that are watched when memory is measured
	hung  = 20 // mounts that hang together
)

// kills is how many mounts are broken, one after the other.
var kills = often(6, 20)

// replacedWithin breaks each pod's mount, one after the other, and asserts that each pod is evicted in time: the end of a FUSE
// daemon is announced, so that no period is waited for. The next one breaks when the one before is over: many at a time are an incident.
func replacedWithin(t *testing.T, s *scene, pods []corev1.Pod) {
	var worst time.Duration
	for i := range pods {
		pod := &pods[i]
		broken := s.kill(pod, "app", "data")
		life := s.ended(pod, true)
		took := life.Ending.Sub(broken)
		worst = max(worst, took)
		if took > atOnce {
			events, err := s.Events(s.ctx, s.namespace, pod.UID)
			t.Errorf("run %d: evicted %s after the breakage, want within %s; its events: %+v (%v)", i+1, took.Round(time.Millisecond), atOnce, events, err)
		}
		s.event(s.replaced(pod), "SuccessorHealthy")
	}
	t.Logf("%d runs, the slowest %s", len(pods), worst.Round(time.Millisecond))
}

// parked waits until the agent has parked at least so many looks.
func (s *scene) parked(n float64) {
	s.Helper()
	s.atLeast(n, "mountwarden_probes_parked")
}

// daemonsKnown waits until the agent watches so many FUSE daemons: the end of one that it has not found yet is not announced.
func (s *scene) daemonsKnown(n float64) {
	s.Helper()
	s.atLeast(n, "mountwarden_event_source_watched", "source", "fuse-daemon")
}

// atLeast waits until the agent's gauge with the labels has at least the value.
func (s *scene) atLeast(n float64, name string, labels ...string) {
	s.Helper()
	s.until(fmt.Sprintf("%s of %.0f", name, n), func(ctx context.Context) (bool, error) {
		metrics, err := s.Metrics(ctx)
		if err != nil {
			return false, err
		}
		found := world.Find(metrics[name], labels...)
		return len(found) == 1 && found[0].Value >= n, fmt.Errorf("it is %v", found)
	})
}

// hangsAlone hangs 20 mounts and asserts that no thread of the agent's main process waits in one, and that another
// mount's death is found as soon as ever. In the end one of the hung pods is tried first, and the others follow.
func hangsAlone(t *testing.T, s *scene, pods []corev1.Pod) {
	main := agentProcess(t)
	before := threads(t, main)
	for i := range pods[:hung] {
		must(t, s.Fault(s.ctx, &pods[i], "data", "hang"))
	}
	s.parked(hung)
	during := threads(t, main)
	for _, wchan := range during {
		if inMount(wchan) {
			t.Errorf("a thread of the agent's main process waits in a mount: %s", wchan)
		}
	}
	if len(during) > len(before)+4 {
		t.Errorf("the agent's main process had %d threads and has %d with %d hung mounts", len(before), len(during), hung)
	}
	t.Logf("main process: %d threads before, %d with %d hung mounts", len(before), len(during), hung)

	last := &pods[len(pods)-1]
	broken := s.kill(last, "app", "data")
	if took := s.ended(last, true).Ending.Sub(broken); took > atOnce {
		t.Errorf("with %d hung mounts another one's death took %s to act on, want within %s as without", hung, took, atOnce)
	}
	for i := range pods[:hung] {
		s.ended(&pods[i], true)
	}
	s.fleet()
}
