package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/test/world"
)

var update = flag.Bool("update", false, "write the goldens anew")

const theAlert = "MountwardenMountUnhealthy"

// One incident, from break to healed, is told by all that an operator may look at: kubectl describe, the metrics, an alert that fires
// and is resolved in a real Prometheus, mountwarden status, and the page.
func TestAnIncidentIsToldEverywhere(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	agent, err := s.Agent(s.within(patience))
	must(t, err)
	page := s.page(agent)
	prometheus := s.prometheus()
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched()})[0]
	s.watched(&pod, "data")
	s.scraped(prometheus, &pod)
	s.alerts(prometheus, &pod, "")
	s.told(&pod, "healthy", func(_ status.Snapshot, p status.Pod, m status.Mount) bool {
		return m.State == "Healthy" && m.NextStep.Step == status.StepLook && p.Held == nil
	})
	s.shows(page, "Healthy", pod.Name, "/data")

	pause := func(reason any) error {
		_, err := s.Client.CoreV1().Namespaces().Patch(context.Background(), s.namespace, types.MergePatchType,
			annotated(map[string]any{"mountwarden.io/paused": reason}), metav1.PatchOptions{})
		return err
	}
	must(t, pause("the array is being moved"))
	broken := s.kill(&pod, "app", "data")
	s.held(&pod, "Paused")
	s.becomes("the mount to be failed in the metrics", stateIs(s, &pod, "Failed", "Disconnected"))
	s.told(&pod, "broken and held", func(_ status.Snapshot, p status.Pod, m status.Mount) bool {
		return m.State == "Failed" && m.Cause == "Disconnected" && p.Held != nil && p.Held.Reason == "Paused" && m.NextStep.Step == status.StepHold
	})
	s.shows(page, "Failed", pod.Name, "Disconnected", "Paused", "the array is being moved")
	s.alerts(prometheus, &pod, "firing")
	s.describes("incident-held-pod", "pod", &pod)
	owner := s.owner(&pod)

	must(t, pause(nil))
	s.ended(&pod, true)
	successor := s.healed(&pod)
	s.event(owner, "SuccessorHealthy")
	s.told(successor, "healthy, and that the removal helped", func(told status.Snapshot, p status.Pod, m status.Mount) bool {
		return m.State == "Healthy" && p.Held == nil && helped(told, pod.Name, successor.Name)
	})
	s.shows(page, "Healthy", successor.Name, "Healed")
	s.alerts(prometheus, &pod, "")
	s.becomes("the end of the dead pod's series", func(ctx context.Context) (bool, string) {
		left, err := prometheus.Query(ctx, fmt.Sprintf(`{__name__=~"mountwarden_mount_.*",pod=%q}`, pod.Name))
		return err == nil && len(left) == 0, fmt.Sprint(left, err)
	})
	s.describes("incident-healed-owner", "replicaset", owner)
	s.describes("incident-healed-successor", "pod", successor)
	s.charted(prometheus)
	s.logged(agent, broken, "Mount failed", "Paused", "Evicted", "Removal ended: Healed")
}

// charted asserts that every query of the dashboard gives something after an incident, but those that show what is wrong now.
func (s *scene) charted(p *world.Prometheus) {
	s.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "charts", "mountwarden", "dashboards", "mountwarden.json"))
	must(s.T, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	must(s.T, json.Unmarshal(text, &dashboard))
	asked := 0
	for _, panel := range dashboard.Panels {
		quiet := slices.Contains([]string{"Mounts that are not healthy", "Warnings around healthy mounts", "Held pods by reason", "Missing capabilities"}, panel.Title)
		for _, target := range panel.Targets {
			asked++
			query := strings.NewReplacer("$__rate_interval", "5m", "$node", ".*").Replace(target.Expr) // what Grafana fills in
			s.becomes("data of "+panel.Title+": "+query, func(ctx context.Context) (bool, string) {
				series, err := p.Query(ctx, query)
				return err == nil && (quiet || len(series) > 0), fmt.Sprint(series, err)
			})
		}
	}
	if asked < 25 {
		s.Errorf("the dashboard has only %d queries", asked)
	}
}

// mostLines is how long the log of an incident may be.
const mostLines = 12

// logged asserts that the agent's log tells the scene's incident, in this order, and briefly.
func (s *scene) logged(agent *corev1.Pod, since time.Time, words ...string) {
	s.Helper()
	text, err := s.Kubectl(s.ctx, "logs", "-n", agent.Namespace, agent.Name, "--since-time", since.Add(-time.Second).UTC().Format(time.RFC3339))
	must(s.T, err)
	var told []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, s.namespace) {
			told = append(told, line)
		}
	}
	all := strings.Join(told, "")
	s.Log("\n" + all)
	if len(told) > mostLines {
		s.Errorf("%d lines, want at most %d", len(told), mostLines)
	}
	for _, word := range words {
		_, rest, found := strings.Cut(all, word)
		if !found {
			s.Errorf("nothing of %s, or too early", word)
		}
		all = rest
	}
}

func helped(told status.Snapshot, pod, successor string) bool {
	for _, r := range told.Removals {
		if r.Pod == pod {
			return r.Aftermath == "Healed" && r.Successor == successor && r.Cause == "Disconnected"
		}
	}
	return false
}

func (s *scene) becomes(what string, is func(context.Context) (bool, string)) {
	s.Helper()
	must(s.T, world.Until(s.within(patience), what, is))
}

// page returns the address of the agent's page, by kubectl port-forward as a person would reach it.
func (s *scene) page(agent *corev1.Pod) string {
	s.Helper()
	address, err := s.Forward(s.ctx, agent, 8082)
	must(s.T, err)
	return "http://" + address + "/statusz?namespace=" + s.namespace
}

// shows waits until the page has all the words.
func (s *scene) shows(page string, words ...string) {
	s.Helper()
	s.becomes(fmt.Sprintf("the page to show %q", words), func(ctx context.Context) (bool, string) {
		text, err := world.Get(ctx, page)
		if err != nil {
			return false, err.Error()
		}
		for _, word := range words {
			if !strings.Contains(string(text), word) {
				return false, word + " is missing in\n" + string(text)
			}
		}
		return true, ""
	})
}

// prometheus runs one with the chart's alerts, which do not wait before they fire.
func (s *scene) prometheus() *world.Prometheus {
	s.Helper()
	text, err := exec.CommandContext(s.ctx, "helm", "template", "mountwarden", filepath.Join("..", "..", "charts", "mountwarden"), "--namespace", world.AgentNamespace,
		"--show-only", "templates/prometheusrule.yaml", "--set", "prometheusRule.enabled=true,prometheusRule.rules.mountUnhealthy.for=1s").Output()
	must(s.T, err)
	var rule struct {
		Spec map[string]any `json:"spec"`
	}
	must(s.T, yaml.Unmarshal(text, &rule))
	rules, err := yaml.Marshal(rule.Spec)
	must(s.T, err)
	p, err := s.StartPrometheus(s.ctx, s.TempDir(), rules)
	must(s.T, err)
	s.Cleanup(func() {
		if err := p.Close(); err != nil {
			s.Error(err)
		}
	})
	return p
}

// scraped waits until Prometheus knows the pod's mount, under the name of its node.
func (s *scene) scraped(p *world.Prometheus, pod *corev1.Pod) {
	s.Helper()
	query := fmt.Sprintf(`mountwarden_mount_healthy{namespace=%q,pod=%q,volume="data",node=%q} == 1`, pod.Namespace, pod.Name, pod.Spec.NodeName)
	s.becomes("Prometheus to scrape "+pod.Name, func(ctx context.Context) (bool, string) {
		found, err := p.Query(ctx, query)
		return err == nil && len(found) == 1, fmt.Sprint(found, err)
	})
}

// alerts waits until the alert of the pod's mount is in a state; "" is none.
func (s *scene) alerts(p *world.Prometheus, pod *corev1.Pod, want string) {
	s.Helper()
	s.becomes(fmt.Sprintf("the alert of %s to be %q", pod.Name, want), func(ctx context.Context) (bool, string) {
		all, err := p.Alerts(ctx)
		if err != nil {
			return false, err.Error()
		}
		state := ""
		for _, a := range all {
			if a.Labels["alertname"] == theAlert && a.Labels["pod"] == pod.Name {
				state = a.State
				s.tells(a, pod)
			}
		}
		return state == want, fmt.Sprintf("%+v", all)
	})
}

// tells asserts that an alert says where to look.
func (s *scene) tells(a world.Alert, pod *corev1.Pod) {
	s.Helper()
	for _, words := range []string{pod.Namespace + "/" + pod.Name, "container app", "/data", "volume data", pod.Spec.NodeName} {
		if !strings.Contains(a.Annotations["description"], words) {
			s.Errorf("the alert does not say %q: %s", words, a.Annotations["description"])
		}
	}
	if !strings.HasSuffix(a.Annotations["runbook_url"], "/"+theAlert+".md") {
		s.Errorf("runbook %s", a.Annotations["runbook_url"])
	}
}

// describes compares what kubectl describe tells of the agent's events with a golden.
func (s *scene) describes(golden, kind string, object metav1.Object) {
	s.Helper()
	text, err := s.Kubectl(s.ctx, "describe", kind, "-n", s.namespace, object.GetName())
	must(s.T, err)
	got, path := story(text, s.namespace), filepath.Join("testdata", golden+".txt")
	if *update {
		must(s.T, os.MkdirAll("testdata", 0o755))
		must(s.T, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	must(s.T, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		s.Errorf("kubectl describe %s (-%s +got; -update writes it anew):\n%s\nfrom\n%s", kind, path, diff, text)
	}
}

// story leaves the agent's events of what kubectl describe says, with the names and times of one run taken out.
func story(text, namespace string) string {
	var told []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, " mountwarden ") {
			told = append(told, strings.Join(strings.Fields(line), " "))
		}
	}
	slices.Sort(told) // kubectl has no order of its own for events of the same second
	all := strings.Join(told, "\n") + "\n"
	for _, r := range []struct{ pattern, to string }{
		{regexp.QuoteMeta(namespace), "NAMESPACE"},
		{`\bapp-[0-9a-f]+-[0-9a-z]{5}\b`, "POD"},
		{`\bapp-[0-9a-f]{8,10}\b`, "REPLICASET"},
		{`(?m)^(Normal|Warning) (\w+) \S+( \(x\d+ over \S+\))? mountwarden`, "$1 $2 AGE mountwarden"},
		{`\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z`, "INSTANT"},
		{`\b([0-9]+m)?[0-9.]+(ms|s)\b`, "TIME"},
		{`\b[0-9]+ looks\b`, "N looks"},
	} {
		all = regexp.MustCompile(r.pattern).ReplaceAllString(all, r.to)
	}
	return all
}

// A story keeps what is said and loses what differs from run to run.
func TestStory(t *testing.T) {
	const text = `Name: app-7d4b9c-x2x4z
Events:
  Type     Reason           Age                From               Message
  Normal   Pulled           20s                kubelet            Container image "x"
  Warning  MountUnhealthy   12s                mountwarden        app-7d4b9c66ff-x2x4z of app-7d4b9c66ff in e2e-1: broken for 1.2s, 3 looks since 2026-01-02T03:04:05Z
  Warning  RemediationHeld  2s (x3 over 1m2s)  mountwarden        Held
`
	const want = "Warning MountUnhealthy AGE mountwarden POD of REPLICASET in NAMESPACE: broken for TIME, N looks since INSTANT\nWarning RemediationHeld AGE mountwarden Held\n"
	if got := story(text, "e2e-1"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
