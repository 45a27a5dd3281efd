package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/test/csidriver"
	"github.com/mountwarden/mountwarden/test/internal/webdav"
	"github.com/mountwarden/mountwarden/test/world"
)

// What Mountwarden promises of an outage, with default settings.
const (
	mostEvictions = 3                // of an owner during the outage, whose replacements are as broken as the pods were
	healthyWithin = 2 * time.Minute  // of the server's return
	steadyFor     = time.Minute      // after an outage, without a further eviction
	curedWithin   = 15 * time.Second // of the death of a FUSE daemon, to the replacement's healthy mounts
)

// An outage is a server behind the volumes of an app, which goes away and comes back.
type outage struct {
	attributes map[string]string // of the volumes
	command    []string          // of the app; it idles when empty
	stop       func()
	start      func()
}

// lasts is how long the server is away. 5 minutes tell a loop from evictions that try whether a new
// mount helps: where each replacement counted as a success, they saw 6 to 8 evictions. They cannot
// show that evictions stay rare in a longer outage; LONG=1 shows 10 minutes.
func (o outage) lasts() time.Duration { return time.Duration(often(5, 10)) * time.Minute }

func (o outage) adapt(spec *corev1.PodSpec) {
	spec.Volumes[0].CSI.VolumeAttributes = o.attributes
	if len(o.command) > 0 {
		spec.Containers[0].Command = o.command
	}
}

// The file system answers for 15 s after each mount and hangs from then on while its server is
// away: as the rclone of the next test, and exactly so each time.
func TestAnOutageOfABackend(t *testing.T) {
	t.Parallel()
	s := newDriverScene(t)
	backend := s.driver.Path("backend")
	o := outage{
		attributes: map[string]string{csidriver.AttrContent: world.Canary, csidriver.AttrBackend: backend},
		stop:       func() { must(t, os.Remove(backend)) },
		start:      func() { must(t, os.WriteFile(backend, nil, 0o600)) },
	}
	o.start()
	t.Cleanup(o.start) // else pods could not read their volume while they end
	s.runOutage(o)
}

// readingApp is what an application does: it takes a while to start, and reads then.
const readingApp = `trap 'exit 0' TERM; sleep 20; while :; do cat /data/canary >/dev/null 2>&1; sleep 1; done`

// The same with Debian's rclone and a WebDAV server that is killed. While that refuses connections,
// statfs of a fresh mount is answered with invented figures after the retries of one request; once
// dir-cache-time is over it waits for those of another one, which share a rate limit of one retry
// in 2 s with the requests of the application. With rclone's default of 10 retries that takes 38 to
// 40 s, as long as hang-seconds: 15 keep the test off that edge.
func TestAnOutageOfAWebDAVServer(t *testing.T) {
	t.Parallel()
	s := newAdaptedDriverScene(t, world.MountNodePrograms)
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "canary"), []byte(world.Canary), 0o600))
	server, err := webdav.Start(root, net.JoinHostPort(s.nodeAddress(), "0"))
	must(t, err)
	t.Cleanup(func() { server.Kill() })
	s.runOutage(outage{
		attributes: map[string]string{
			csidriver.AttrProgram: "rclone",
			csidriver.AttrURL:     server.URL(),
			csidriver.AttrFlags:   "--low-level-retries 15",
		},
		command: []string{"/bin/sh", "-c", readingApp},
		stop:    func() { must(t, server.Kill()) },
		start: func() {
			server, err = webdav.Start(root, server.Address())
			must(t, err)
		},
	})
}

// nodeAddress returns the address of the one node, which pods reach.
func (s *scene) nodeAddress() string {
	s.Helper()
	nodes, err := s.Client.CoreV1().Nodes().List(s.ctx, metav1.ListOptions{})
	must(s.T, err)
	for _, a := range nodes.Items[0].Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			return a.Address
		}
	}
	s.Fatalf("node %s has no address: %v", nodes.Items[0].Name, nodes.Items[0].Status.Addresses)
	return ""
}

// runOutage takes an app with two replicas through an outage, its end, and the death of a daemon.
func (s *scene) runOutage(o outage) {
	s.Helper()
	pods := s.deploy(world.App{Name: "app", Annotations: world.Watched(), Replicas: 2, Adapt: o.adapt})
	for i := range pods {
		s.watched(&pods[i], "data")
		s.reads(&pods[i], "app", "data")
	}
	s.Cleanup(s.logEvents)

	began := time.Now()
	o.stop()
	s.awaitHold(began.Add(o.lasts()))
	s.checkEvictions(began)

	back := time.Now()
	o.start()
	pods = s.healthy(2, healthyWithin)
	s.Logf("both healthy %s after the server was back", time.Since(back).Round(100*time.Millisecond))
	s.staysFor(steadyFor, pods...)
	for _, life := range s.history.EvictedSince(back.Add(time.Second)) { // one may have been under way
		s.Errorf("%s was evicted %s after the server was back", life.Pod.Name, life.Ending.Sub(back).Round(100*time.Millisecond))
	}
	s.checkReplacement(&pods[0], &pods[1])
}

// awaitHold waits until then, and asserts that a pod with a failed mount stays, and that the
// status, an event and the metric say why.
func (s *scene) awaitHold(then time.Time) {
	s.Helper()
	wait, cancel := context.WithDeadline(s.ctx, then)
	defer cancel()
	<-wait.Done()
	must(s.T, s.ctx.Err())
	var pod status.Pod
	s.statusShows("a failed mount and why its pod stays", func(_ status.Snapshot, p status.Pod, m status.Mount) bool {
		pod = p
		return m.State == "Failed" && p.Held != nil
	})
	s.Logf("%s is held as %s: %s", pod.Name, pod.Held.Reason, pod.Held.Message)
	s.becomes("an event and the metric to say so", func(ctx context.Context) (bool, string) {
		metrics, err := s.Metrics(ctx)
		if err != nil {
			return false, err.Error()
		}
		held := world.Find(metrics["mountwarden_remediations_held"], "reason", pod.Held.Reason)
		announced := slices.ContainsFunc(s.agentEvents(ctx), func(e agentEvent) bool {
			return e.reason == controllers.ReasonRemediationHeld && e.object == "Pod "+pod.Name && strings.HasSuffix(e.action, pod.Held.Reason)
		})
		return announced && len(held) == 1 && held[0].Value >= 1, fmt.Sprintf("event: %t, metric: %v", announced, held)
	})
}

// checkEvictions asserts that few pods were evicted since then, and that no replacement counted as
// a success.
func (s *scene) checkEvictions(then time.Time) {
	s.Helper()
	evicted := s.history.EvictedSince(then)
	for _, life := range evicted {
		s.Logf("evicted %s into the outage: %s", life.Ending.Sub(then).Round(100*time.Millisecond), life.Pod.Name)
	}
	s.Logf("%d evictions in an outage of %s", len(evicted), time.Since(then).Round(time.Second))
	if n := len(evicted); n < 1 || n > mostEvictions {
		s.Errorf("%d evictions, want 1 that tries whether a new mount helps, and at most %d", n, mostEvictions)
	}
	for _, e := range s.agentEvents(s.ctx) {
		if e.reason == controllers.ReasonSuccessorHealthy {
			s.Errorf("%s was reported as a success while the server was away: %s", e.object, e.note)
		}
	}
}

// healthy waits until the app has n pods that do not end and whose mounts the agent reports as
// healthy, and returns them.
func (s *scene) healthy(n int, within time.Duration) []corev1.Pod {
	s.Helper()
	var pods []corev1.Pod
	err := world.Until(s.within(within), fmt.Sprintf("%d pods with healthy mounts", n), func(ctx context.Context) (bool, string) {
		list, err := s.Client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=app"})
		if err != nil {
			return false, err.Error()
		}
		pods = slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil || !mountsHealthy(&p) })
		return len(pods) == n, fmt.Sprintf("%d of %d", len(pods), len(list.Items))
	})
	must(s.T, err)
	return pods
}

func mountsHealthy(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == controllers.ConditionMountsHealthy && c.Status == corev1.ConditionTrue
	})
}

// checkReplacement kills the FUSE daemon of a pod, and asserts that the app has two pods with
// healthy mounts within the promised time.
func (s *scene) checkReplacement(pod, other *corev1.Pod) {
	s.Helper()
	server, err := s.driver.Server(pod, "data")
	must(s.T, err)
	killed := time.Now()
	must(s.T, server.Kill())
	s.ended(pod, true)
	pods := s.healthy(2, patience)
	took := time.Since(killed)
	s.Logf("replaced by a pod with healthy mounts %s after its daemon was killed", took.Round(100*time.Millisecond))
	if took > curedWithin {
		s.Errorf("the pod was replaced after %s, want at most %s", took.Round(100*time.Millisecond), curedWithin)
	}
	for i := range pods {
		s.reads(&pods[i], "app", "data")
	}
	if !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.UID == other.UID }) {
		s.Errorf("%s is gone, too, although its daemon lives", other.Name)
	}
}

// An agentEvent is an event of the agent in the scene's namespace.
type agentEvent struct {
	at                           time.Time
	object, reason, action, note string
}

// agentEvents returns the events of the agent in the scene's namespace, in order of time.
func (s *scene) agentEvents(ctx context.Context) []agentEvent {
	s.Helper()
	list, err := s.Client.EventsV1().Events(s.namespace).List(context.WithoutCancel(ctx), metav1.ListOptions{})
	must(s.T, err)
	var all []agentEvent
	for _, e := range list.Items {
		if e.ReportingController == "mountwarden" {
			all = append(all, agentEvent{e.EventTime.Time, e.Regarding.Kind + " " + e.Regarding.Name, e.Reason, e.Action, e.Note})
		}
	}
	slices.SortFunc(all, func(a, b agentEvent) int { return a.at.Compare(b.at) })
	return all
}

// logEvents logs all events of the agent in the scene's namespace.
func (s *scene) logEvents() {
	for _, e := range s.agentEvents(s.ctx) {
		s.Logf("%s %s %s: %s", e.at.Format(time.TimeOnly), e.object, e.reason, e.note)
	}
}
