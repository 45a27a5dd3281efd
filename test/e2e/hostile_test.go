package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/world"
)

const (
	hostileImage = "test.local/hostile:1"
	underWay     = "under way" // the line that package hostile's attacks print

	// A victim must be replaced within maxSlowdown times what it takes without an attack, or within
	// minBound if that is longer.
	maxSlowdown = 3
	minBound    = 15 * time.Second
	// attackFor is for how long an attack is under way before its victim's mount breaks: two periods
	// of the agent.
	attackFor = 20 * time.Second

	tenYears = 10 * 365 * 24 * 60 * 60 // seconds
)

// attack is something that a tenant does to the agent of its node, with pods that have no
// privilege.
type attack struct {
	name  string
	skip  func() string                                // says why the kernel does not let a tenant do it
	start func(attacker *scene, agent *corev1.Pod)     // returns once it is under way; it lasts until the test ends
	check func(attacker *scene, monitor *agentMonitor) // what else must work during the attack
}

func attacks() []attack {
	return []attack{
		{name: "headers that never end", start: holdConnections},
		{name: "long mount tables", skip: explainNoUserNamespaces, start: fillTables},
		{name: "locked epoll sets", start: lockSets, check: replaceAgent},
		{name: "many long labels", start: func(s *scene, _ *corev1.Pod) { s.fillLedger(addLongLabels, 648, 6, 3, 1, 1, 0, 0, 0, 0, 0) }},
		{name: "owners with long names", start: func(s *scene, _ *corev1.Pod) {
			s.fillLedger(setLongOwner, 40_000, 40_000, 18_000, 900, 600, 300, 300, 200, 100, 0, 0)
		}},
	}
}

// Whatever a tenant's pods do, another tenant's pod whose mount has died is still replaced in time.
// The agent keeps running: it is not restarted, answers /healthz, stays below its memory limit, and
// none of its threads is stuck in the kernel.
//
// Not parallel: each attack is directed at the agent, which is replaced afterwards.
func TestTenantsCannotDisableTheAgent(t *testing.T) {
	if os.Getenv("CLUSTER") == "" {
		t.Skip("not in the test cluster: run `make test-e2e`")
	}
	var bound time.Duration
	t.Run("no attack", func(t *testing.T) {
		s := newScene(t)
		pod := s.deployVictim()
		s.monitorAgent()
		took := s.replaceVictim(pod)
		bound = max(minBound, maxSlowdown*took)
		t.Logf("replaced by a healthy pod after %s; during an attack it may take %s", took.Round(time.Millisecond), bound.Round(time.Millisecond))
	})
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) { a.run(t, bound) })
	}
}

func (a attack) run(t *testing.T, bound time.Duration) {
	if a.skip != nil && a.skip() != "" {
		t.Skip(a.skip())
	}
	if bound == 0 {
		t.Skip("it is not known how long a replacement takes without an attack")
	}
	t.Cleanup(func() { renewAgent(t) })
	victim, attacker := newScene(t), newScene(t)
	pod := victim.deployVictim()
	monitor := victim.monitorAgent()
	a.start(attacker, monitor.agent)
	victim.staysFor(attackFor, *pod)
	took := victim.replaceVictim(pod)
	t.Logf("the victim was replaced by a healthy pod after %s", took.Round(time.Millisecond))
	if took > bound {
		t.Errorf("the victim was replaced by a healthy pod after %s, want within %s", took.Round(time.Millisecond), bound.Round(time.Millisecond))
	}
	if a.check != nil {
		a.check(attacker, monitor)
	}
	monitor.finish()
}

// deployVictim deploys an ordinary pod and waits until the agent watches it and its FUSE daemon. At
// the end it logs why the agent has held the pod, if it has.
func (s *scene) deployVictim() *corev1.Pod {
	s.Helper()
	pod := s.deploy(world.App{Name: "victim", Annotations: world.Watched()})[0]
	s.Cleanup(func() {
		if hold, err := s.findHold(context.Background(), &pod); hold != "" || err != nil {
			s.Logf("%s was held: %s (%v)", pod.Name, hold, err)
		}
	})
	s.watched(&pod, "data")
	s.daemonsKnown(1)
	return &pod
}

// replaceVictim kills the FUSE daemon of a pod. It returns how long it takes, from the
// breakage, until another pod is there whose mounts the agent reports as healthy.
func (s *scene) replaceVictim(pod *corev1.Pod) time.Duration {
	s.Helper()
	broken := s.kill(pod, "app", "data")
	evicted := s.ended(pod, true).Ending
	replacement := s.replaced(pod)
	s.until("the mounts of "+replacement.Name+" to be healthy", func(ctx context.Context) (bool, error) {
		now, err := s.Client.CoreV1().Pods(s.namespace).Get(ctx, replacement.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return hasHealthyMounts(now), fmt.Errorf("its conditions are %+v", now.Status.Conditions)
	})
	took := time.Since(broken)
	s.Logf("evicted %s after the breakage", evicted.Sub(broken).Round(time.Millisecond))
	s.reads(replacement, "app", "data")
	return took
}

func hasHealthyMounts(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == "mountwarden.io/MountsHealthy" {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// renewAgent removes what an attack has left behind: what the agents keep in Leases, and what the
// agent has in memory. It runs when the test's own context has ended.
func renewAgent(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	w, err := world.New()
	must(t, err)
	ours := metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=mountwarden"}
	must(t, w.Client.CoordinationV1().Leases(world.AgentNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, ours))
	old, err := w.Client.CoreV1().Pods(world.AgentNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=mountwarden"})
	must(t, err)
	ended := map[types.UID]bool{}
	for _, pod := range old.Items {
		ended[pod.UID] = true
		must(t, w.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}))
	}
	must(t, world.Until(ctx, "another agent", func(ctx context.Context) (bool, string) {
		agent, err := w.Agent(ctx)
		return err == nil && !ended[agent.UID], fmt.Sprint(err)
	}))
}

// newTenantPod returns a pod whose containers run the hostile program, with as few rights as a pod
// can have, and with an emptyDir "data".
func (s *scene) newTenantPod(name string, containers int, arguments ...string) *corev1.Pod {
	no, yes, nobody := false, true, int64(65534)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &nobody, RunAsGroup: &nobody,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		},
	}
	for i := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name: fmt.Sprintf("hostile-%d", i), Image: hostileImage, ImagePullPolicy: corev1.PullNever, Args: arguments,
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			VolumeMounts:    []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
		})
	}
	return pod
}

// createPod makes the pod.
func (s *scene) createPod(pod *corev1.Pod) *corev1.Pod {
	s.Helper()
	pod, err := s.Client.CoreV1().Pods(s.namespace).Create(s.ctx, pod, metav1.CreateOptions{})
	must(s.T, err)
	return pod
}

// attackWith makes the pod, and waits until all of its containers say that their attacks are under
// way.
func (s *scene) attackWith(pod *corev1.Pod) *corev1.Pod {
	s.Helper()
	pod = s.createPod(pod)
	for _, c := range pod.Spec.Containers {
		s.until("the attack of "+pod.Name+"/"+c.Name, func(ctx context.Context) (bool, error) {
			said, err := s.Client.CoreV1().Pods(s.namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: c.Name}).DoRaw(ctx)
			return err == nil && strings.Contains(string(said), underWay), fmt.Errorf("it says %q (%w)", said, err)
		})
	}
	return pod
}

// holdConnections needs no more than the agent's address, which every pod can find out.
func holdConnections(s *scene, agent *corev1.Pod) {
	s.attackWith(s.newTenantPod("connections", 1, "http", net.JoinHostPort(agent.Status.PodIP, "8080"), net.JoinHostPort(agent.Status.PodIP, "8081")))
}

// explainNoUserNamespaces says why the kernel gives a tenant no user namespace with rights in it.
func explainNoUserNamespaces() string {
	for file, forbids := range map[string]string{"user/max_user_namespaces": "0", "kernel/apparmor_restrict_unprivileged_userns": "1"} {
		text, err := os.ReadFile(filepath.Join("/proc/sys", file))
		if err == nil && strings.TrimSpace(string(text)) == forbids {
			return fmt.Sprintf("a tenant has no user namespaces here: %s is %s", file, forbids)
		}
	}
	return ""
}

// longTables is how many containers, each with a mount table as long as the agent reads, one pod
// has.
const longTables = 6

// fillTables needs a user namespace, which the runtime's seccomp profile forbids and which
// Kubernetes allows all the same: it applies no profile unless the pod or the kubelet asks for one.
// The pod opts in when its tables are there: the agent reads all of them at once then.
func fillTables(s *scene, _ *corev1.Pod) {
	pod := s.newTenantPod("tables", longTables)
	pod.Spec.SecurityContext.SeccompProfile = nil
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Command = []string{"/bin/busybox", "unshare", "-U", "-r", "-m", "/hostile", "memory", "/data"}
	}
	pod = s.attackWith(pod)
	watch := annotated(map[string]any{"mountwarden.io/watch": "true"})
	_, err := s.Client.CoreV1().Pods(s.namespace).Patch(s.ctx, pod.Name, types.MergePatchType, watch, metav1.PatchOptions{})
	must(s.T, err)
}

const (
	lockers  = 4  // containers, each a process, that lock epoll sets
	setsEach = 16 // sets of each, as package hostile has it
)

// lockSets needs a FUSE volume that does not answer. It is the tenant's own, whose server the
// tenant may control; here the test hangs it.
func lockSets(s *scene, _ *corev1.Pod) {
	pod := s.newTenantPod("sets", lockers)
	pod.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: s.driver.Name}}
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Args = []string{"freeze", fmt.Sprintf("/data/%d", i)}
	}
	pod = s.attackWith(pod)
	server, err := s.driver.Server(pod, "data")
	must(s.T, err)
	s.Cleanup(func() { must(s.T, server.Clear()) }) // else neither the pod nor an agent that waits for it would ever end
	must(s.T, server.Hang(faultfs.All))
	s.until("locked epoll sets", func(context.Context) (bool, error) {
		pids := processes(s.T, "/hostile", "freeze")
		locked := 0
		for _, pid := range pids {
			locked += countLockedSets(s.T, pid)
		}
		return len(pids) == lockers && locked >= lockers*setsEach, fmt.Errorf("%d sets of %d processes", locked, len(pids))
	})
}

// countLockedSets counts the threads of a process that wait for a page of a file.
func countLockedSets(t *testing.T, pid int) (n int) {
	for _, wchan := range threads(t, pid) {
		if inMount(wchan) || strings.HasPrefix(wchan, "folio_wait") {
			n++
		}
	}
	return n
}

// replaceAgent asserts that the agent has read the node's descriptors during the attack, since it
// knows a daemon that was started meanwhile, and that it can end all the same.
func replaceAgent(s *scene, monitor *agentMonitor) {
	err := world.Until(s.within(time.Minute), "the agent to know the replacement's FUSE daemon", func(ctx context.Context) (bool, string) {
		metrics, err := s.Metrics(ctx)
		found := world.Find(metrics["mountwarden_event_source_watched"], "source", "fuse-daemon")
		return len(found) == 1 && found[0].Value == 1, fmt.Sprint(found, err)
	})
	if err != nil {
		s.Error(err)
	}
	monitor.finish()
	must(s.T, s.Client.CoreV1().Pods(monitor.agent.Namespace).Delete(s.ctx, monitor.agent.Name, metav1.DeleteOptions{}))
	s.agentReplaced(monitor.agent)
}

// fillLedger has pods evicted because they want it, which are enlarged to these sizes and ask for
// ten years to end. The largest is the first; the others use up what it has left.
func (s *scene) fillLedger(enlarge func(*corev1.Pod, int), sizes ...int) {
	s.Helper()
	var pods []*corev1.Pod
	for i, size := range sizes {
		pod := s.newTenantPod(fmt.Sprintf("fill-%d", i), 1, "fill", "/data/canary")
		grace := int64(tenYears)
		pod.Spec.TerminationGracePeriodSeconds = &grace
		pod.Annotations = world.Watched("allow-unmanaged", "true", "volumes", "data", "canary-file", "canary", "period-seconds", "1", "failure-threshold", "1")
		enlarge(pod, size)
		pods = append(pods, s.createPod(pod))
		if i == 0 {
			s.awaitDecision(pods[0])
		}
	}
	for _, pod := range pods[1:] {
		s.awaitDecision(pod)
	}
	s.logLeases()
}

// awaitDecision waits until the pod is evicted, or the agent has said why not.
func (s *scene) awaitDecision(pod *corev1.Pod) {
	s.Helper()
	s.until("a decision on "+pod.Name, func(ctx context.Context) (bool, error) {
		if !s.history.Life(pod.UID).Ending.IsZero() {
			return true, nil
		}
		hold, err := s.findHold(ctx, pod)
		if hold != "" {
			s.Logf("%s is held: %s", pod.Name, hold)
		}
		return hold != "", err
	})
}

// findHold returns what the event says by which the agent holds the pod; "" when there is none.
func (s *scene) findHold(ctx context.Context, pod *corev1.Pod) (string, error) {
	events, err := s.Events(ctx, s.namespace, pod.UID)
	for _, e := range events {
		if e.Reason == "RemediationHeld" {
			return e.Action + " " + e.Note, nil
		}
	}
	return "", err
}

// logLeases logs how much the agents keep in Leases.
func (s *scene) logLeases() {
	s.Helper()
	list, err := s.Client.CoordinationV1().Leases(world.AgentNamespace).List(s.ctx, metav1.ListOptions{})
	must(s.T, err)
	for _, lease := range list.Items {
		size := 0
		for _, text := range lease.Annotations {
			size += len(text)
		}
		s.Logf("Lease %s: %d bytes of annotations", lease.Name, size)
	}
}

// addLongLabels gives the pod this many labels.
func addLongLabels(pod *corev1.Pod, labels int) {
	part := strings.Repeat("a", 57)
	for i := range labels {
		prefix := fmt.Sprintf("%s.%s.%s.%04d", part, part, part, i)
		pod.Labels[prefix+"/"+strings.Repeat("k", 63)] = strings.Repeat("v", 63)
	}
}

// setLongOwner gives the pod a controller that does not exist, with a kind and a name of this
// length. The garbage collector does not know the kind and so does not delete the pod.
func setLongOwner(pod *corev1.Pod, length int) {
	yes := true
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "hostile.test/v1", Kind: "K" + strings.Repeat("k", length), Name: "n" + strings.Repeat("n", length),
		UID: types.UID("owner-of-" + pod.Name), Controller: &yes,
	}}
}
