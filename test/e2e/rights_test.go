package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

const labImage = "test.local/lab:1"

// A container with the securityContext that the chart has rendered for the agent passes the lab. To break mounts takes rights
// that the agent has not, so the lab is two processes of one program: the maker here, as root of the node, and the looker, with the
// agent's prober and workers, in the container; see package lab. That is more honest than to drop the same capabilities somewhere else: the
// filter of system calls, the masked and read-only parts of /proc and /sys, the namespaces and the cgroup are the runtime's own.
func TestTheLabPassesWithTheRightsOfTheChart(t *testing.T) {
	s := newScene(t)
	pod := s.looker()
	program, err := filepath.Abs(filepath.Join("..", "..", "bin", "lab.test"))
	must(t, err)
	lab := exec.CommandContext(s.within(patience), program, "-test.v")
	lab.Dir = filepath.Join("..", "lab")
	lab.Env = append(os.Environ(), "MOUNTWARDEN_LAB_LOOKER_COMMAND=kubectl exec -i -n "+pod.Namespace+" "+pod.Name+" -- /lab.test")
	out, err := lab.CombinedOutput()
	text := string(out)
	t.Logf("%d tests and rows passed; not run:\n%s", strings.Count(text, "--- PASS: "), strings.Join(notRun.FindAllString(text, -1), "\n"))
	if err != nil || !strings.Contains(text, "--- PASS: TestFailures ") || !strings.Contains(text, "--- PASS: TestTheLookerHasTheRightsOfTheChart ") {
		t.Errorf("the lab with its looker in %s: %v\n%s", pod.Name, err, text)
	}
}

// notRun is a test or row that the lab leaves out, and why.
var notRun = regexp.MustCompile(`(?m)^.*_test\.go:\d+: (?:needs|asks|the looker's place|as root).*$|--- SKIP: \S+`)

// looker runs the lab's program in a container like the agent's, where it waits to be asked.
func (s *scene) looker() *corev1.Pod {
	s.Helper()
	agent, err := s.Client.AppsV1().DaemonSets(world.AgentNamespace).Get(s.ctx, "mountwarden", metav1.GetOptions{})
	must(s.T, err)
	spec := agent.Spec.Template.Spec
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "looker", Labels: map[string]string{"app": "looker"}},
		Spec: corev1.PodSpec{
			HostPID: spec.HostPID, HostNetwork: spec.HostNetwork, SecurityContext: spec.SecurityContext, TerminationGracePeriodSeconds: new(int64),
			Containers: []corev1.Container{{
				Name: "lab", Image: labImage, ImagePullPolicy: corev1.PullNever, Stdin: true,
				Env:             []corev1.EnvVar{{Name: "MOUNTWARDEN_LAB_LOOKER", Value: "1"}},
				SecurityContext: spec.Containers[0].SecurityContext,
			}},
		},
	}
	_, err = s.Client.CoreV1().Pods(s.namespace).Create(s.ctx, pod, metav1.CreateOptions{})
	must(s.T, err)
	return &s.ready("looker", 1)[0]
}
