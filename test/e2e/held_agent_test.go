package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/world"
)

// An agent ends, and its successor starts, while one of its workers waits for a FUSE that does not answer: no signal ends that process, which
// stays in the container's cgroup.
//
// Not parallel: it replaces the agent.
func TestAnAgentIsReplacedWhileAMountHangs(t *testing.T) {
	s := newScene(t)
	s.hangs()
	agent, err := s.Agent(s.within(patience))
	must(t, err)
	must(t, s.Client.CoreV1().Pods(agent.Namespace).Delete(s.ctx, agent.Name, metav1.DeleteOptions{}))
	s.agentReplaced(agent)
	s.until("a worker that outlives its agent", isAnyUnkillable)
}

// Not parallel: it kills the agent.
func TestAnAgentRestartsWhileAMountHangs(t *testing.T) {
	s := newScene(t)
	s.hangs()
	agent, err := s.Agent(s.within(patience))
	must(t, err)
	must(t, unix.Kill(agentProcess(t), unix.SIGKILL))
	s.until("the agent's restart", func(ctx context.Context) (bool, error) {
		now, err := s.Client.CoreV1().Pods(agent.Namespace).Get(ctx, agent.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		c := now.Status.ContainerStatuses[0]
		return c.RestartCount > agent.Status.ContainerStatuses[0].RestartCount && c.Ready, fmt.Errorf("it is %+v", c.State)
	})
	s.until("a worker that outlives its agent", isAnyUnkillable)
}

// hangs deploys a pod whose FUSE does not answer any more, and waits until a worker of the agent is parked there. It is in mode Report, so that
// it stays.
func (s *scene) hangs() {
	s.Helper()
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched("mode", "Report", "timeout-seconds", "2", "hang-seconds", "5", "period-seconds", "2")})[0]
	s.watched(&pod, "data")
	server, err := s.driver.Server(&pod, "data")
	must(s.T, err)
	s.Cleanup(func() { _ = server.Clear() }) // else neither the pod nor its namespace would ever end
	must(s.T, server.Hang(faultfs.All))
	s.parked(1)
}

// isAnyUnkillable reports whether a thread of a worker that was killed waits in the kernel. One that nobody has killed waits there interruptibly
// (state S). It may be any of the worker's: the first one is a zombie then, and tells nothing of the others.
func isAnyUnkillable(context.Context) (bool, error) {
	files, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/stat")
	if err != nil {
		return false, err
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err == nil && bytes.Contains(stat, []byte(" (mountwarden-pro) D ")) {
			return true, nil
		}
	}
	return false, nil
}
