package worker

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// nobody is a user that is not the one who tests.
var nobody = Credential{UID: 65534, GID: 65533}

// agentEnv makes this binary an agent that probes once, as nobody, and prints the result.
const agentEnv = "WORKER_TEST_AGENT"

func runAgent() int {
	target, err := proc.Self("/proc")
	if err != nil {
		return 1
	}
	p, err := New(Options{})
	if err != nil {
		return 1
	}
	r := p.Look(context.Background(), []Task{{Target: target, Request: check.Request{Path: os.Getenv(agentEnv)}, As: &nobody}}, short)[0]
	if _, err := fmt.Fprintln(os.Stdout, p.pids(), r.Err); err != nil {
		return 1
	}
	<-time.After(patience)
	return p.Stats().Workers
}

// copyForAll copies this binary, as an agent and as its worker, to where every user may execute
// it.
func copyForAll(t *testing.T) (dir string) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	dir = t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		must(t, os.Chmod(d, 0o755))
	}
	for _, name := range []string{"agent", workerName} {
		binary, err := os.ReadFile(exe)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), binary, 0o755)) //nolint:gosec // others run it
	}
	return dir
}

// startAgent runs a copy of this binary, beside which a worker is found, and returns the first
// line that it prints.
func startAgent(t *testing.T, path string, attr *syscall.SysProcAttr) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(copyForAll(t), "agent"))
	cmd.Env = append(os.Environ(), agentEnv+"="+path)
	cmd.SysProcAttr = attr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // ended, perhaps
		_ = cmd.Wait()         // killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	return cmd, line
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("switches users: needs root")
	}
}

func TestWorkersOfOtherUsers(t *testing.T) {
	t.Parallel()
	needRoot(t)
	n := newFakeNode(t, Options{MaxActive: 2})
	n.spawner.path = filepath.Join(copyForAll(t), workerName)
	look := func(as *Credential) {
		t.Helper()
		task := n.tasks("0:2 /a")
		task[0].As = as
		good(t, n.Look(t.Context(), task, patience)[0])
	}
	self := ownCredential()
	look(nil)
	look(&self)
	if s := n.Stats(); s.Workers != 1 {
		t.Errorf("as oneself: %+v", s)
	}
	look(&nobody)
	look(&nobody)
	if s := n.Stats(); s.Workers != 2 {
		t.Errorf("as nobody: %+v", s)
	}
	if got := ids(t, n.Pool); got["65534 65534 65534 65534 | 65533 65533 65533 65533"] != 1 {
		t.Errorf("%v", got)
	}
	n.spawner.path = "/root/none"
	task := n.tasks("0:2 /a")
	task[0].As = &Credential{UID: 1, GID: 1}
	failed(t, n.Look(t.Context(), task, patience)[0], "start worker /root/none as user 1 and group 1")
	n.spawner.path = filepath.Join(copyForAll(t), workerName)
	for i := range uint32(4) {
		look(&Credential{UID: 70_000 + i, GID: 7})
	}
	eventually(t, "of the users few are kept", func() bool { s := n.Stats(); return s.Workers == 2 && s.Idle == 2 })
}

// ids counts the workers by their user ids and group ids. Supplementary groups would follow.
func ids(t *testing.T, p *Pool) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for _, pid := range p.pids() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		must(t, err)
		var all []string
		for line := range strings.Lines(string(text)) {
			for _, key := range []string{"Uid:", "Gid:", "Groups:"} {
				if rest, ok := strings.CutPrefix(line, key); ok && strings.TrimSpace(rest) != "" {
					all = append(all, strings.Join(strings.Fields(rest), " "))
				}
			}
		}
		seen[strings.Join(all, " | ")]++
	}
	return seen
}

func TestWorkerOfAnotherUserDiesWithTheAgent(t *testing.T) {
	t.Parallel()
	needRoot(t)
	cmd, line := startAgent(t, "/walk", nil)
	var pid int
	_, err := fmt.Sscanf(line, "[%d]", &pid)
	if err != nil || syscall.Kill(pid, 0) != nil {
		t.Fatalf("no worker hangs: %q, %v", line, err)
	}
	must(t, cmd.Process.Kill())
	eventually(t, "the worker is gone", func() bool { return syscall.Kill(pid, 0) != nil || isZombie(pid) })
}

// isZombie reports whether a process has ended that nobody has reaped yet.
func isZombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

func TestUsersCannotBeSwitchedWithoutCapabilities(t *testing.T) {
	t.Parallel()
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: 65532, Gid: 65532}
	}
	_, line := startAgent(t, "/a", attr)
	if want := "uid-switched workers need the capabilities SETUID, SETGID and KILL: the agent lacks SETUID, SETGID, KILL"; !strings.Contains(line, want) {
		t.Errorf("%q", line)
	}
}
