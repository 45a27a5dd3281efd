package lab_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// chartRights are the capabilities that the chart's default values give the agent.
func chartRights(t *testing.T) []capability.Cap {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "charts", "mountwarden", "values.yaml"))
	must(t, err)
	var values struct {
		SecurityContext corev1.SecurityContext `json:"securityContext"`
	}
	must(t, yaml.Unmarshal(text, &values))
	set := values.SecurityContext.Capabilities
	if set == nil || !slices.Equal(set.Drop, []corev1.Capability{"ALL"}) || len(set.Add) == 0 {
		t.Fatalf("the chart's capabilities are %+v, want some after all are dropped", set)
	}
	var rights []capability.Cap
	for _, name := range set.Add {
		rights = append(rights, capabilityOf(t, string(name)))
	}
	return rights
}

// nameOf is the capability as Kubernetes writes it, such as SYS_PTRACE.
func nameOf(c capability.Cap) string { return strings.ToUpper(c.String()) }

func capabilityOf(t *testing.T, name string) capability.Cap {
	t.Helper()
	all := capability.ListKnown()
	i := slices.IndexFunc(all, func(c capability.Cap) bool { return nameOf(c) == name })
	if i < 0 {
		t.Fatalf("no capability is called %q", name)
	}
	return all[i]
}

func without(rights []capability.Cap, c capability.Cap) []capability.Cap {
	return slices.DeleteFunc(slices.Clone(rights), func(has capability.Cap) bool { return has == c })
}

// withRights does something on a thread that has these capabilities and no more, as a runtime gives them to a container: bounding,
// permitted and effective, none inheritable or ambient, and no way to gain others. What it starts has no other. The thread
// ends with that.
func withRights(rights []capability.Cap, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: a thread that has lost its capabilities is of no use to others
		err := dropTo(rights)
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

func dropTo(rights []capability.Cap) error {
	set, err := capability.NewPid2(0)
	if err != nil {
		return err
	}
	set.Set(capability.EFFECTIVE|capability.PERMITTED|capability.BOUNDING, rights...)
	if err := set.Apply(capability.CAPS | capability.BOUNDS | capability.AMBS); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// need is a mount that can only be judged with certain capabilities.
type need struct {
	name string
	of   []string // each of these
	at   string   // where the container has the mount
	spec spec
	act  []string // what the container does before it is looked at
	fuse faultfs.Options
}

func rightsNeeded() []need {
	closed := map[string]uint32{"/private": 0}
	mine := faultfs.Options{OwnerOnly: true, Owner: owner}
	return []need{
		{name: "a container that may do more than the agent", of: []string{"SYS_PTRACE"}, at: "/data"},
		{name: "a container of another user", of: []string{"SYS_PTRACE"}, at: "/data", act: []string{"become", fmt.Sprint(owner)}},
		{name: "below a folder of mode 000", of: []string{"DAC_READ_SEARCH"}, at: "/private/data", spec: spec{Modes: closed}},
		{name: "below another user's folder of mode 000", of: []string{"DAC_READ_SEARCH"}, at: "/private/data", spec: spec{Modes: closed, UserSpace: true}},
		{name: "a FUSE of another user without allow_other", of: []string{"SETUID", "SETGID", "KILL"}, at: "/data", fuse: mine},
	}
}

// look returns what a looker with these capabilities finds before and after the end of the FUSE's daemon.
func (n need) look(t *testing.T, rights []capability.Cap) (alive, dead probes.Observation) {
	t.Helper()
	s := newScene(t, newLookerWith(t, nodeOptions(), rights))
	s.spec = n.spec
	v := s.csi()
	v.mount.Path = n.at
	server := s.fuse(v.source, n.fuse)
	s.start(v)
	if len(n.act) > 0 {
		s.do(n.act...)
	}
	s.look()
	alive = s.seen[0]
	must(t, server.Kill())
	s.look()
	return alive, s.seen[0]
}

// Every capability of the chart is needed, and by a mount that the lab has: without it such a mount cannot be judged, dead or alive,
// and is never called broken for that.
func TestEachCapabilityIsNeeded(t *testing.T) {
	needRoot(t)
	if os.Getenv(lookerCommandEnv) != "" {
		t.Skip("the looker's place has the capabilities that it has")
	}
	rights := chartRights(t)
	idle := map[string]bool{}
	for _, c := range rights {
		idle[nameOf(c)] = true
	}
	for _, n := range rightsNeeded() {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			alive, dead := n.look(t, rights)
			expect(t, alive, probes.Healthy, probes.CauseNone)
			expect(t, dead, probes.Broken, probes.CauseDisconnected)
		})
		for _, name := range n.of {
			delete(idle, name)
			t.Run(n.name+" without "+name, func(t *testing.T) {
				t.Parallel()
				alive, dead := n.look(t, without(rights, capabilityOf(t, name)))
				expect(t, alive, probes.Unknown, probes.CauseNone)
				expect(t, dead, probes.Unknown, probes.CauseNone)
				t.Logf("%s", dead.Detail)
			})
		}
	}
	if len(idle) > 0 {
		t.Errorf("the chart grants what nothing here needs: %v", slices.Sorted(maps.Keys(idle)))
	}
}

// The agent tells at its start of each capability that it lacks, of those that the chart gives it and of no other.
func TestTheAgentKnowsItsRights(t *testing.T) {
	var names, told []string
	for _, c := range chartRights(t) {
		names = append(names, nameOf(c))
	}
	all, err := node.Capabilities()
	must(t, err)
	for _, c := range all {
		told = append(told, c.Name)
	}
	slices.Sort(names)
	slices.Sort(told)
	if !slices.Equal(names, told) {
		t.Errorf("the chart gives %v, the agent knows of %v", names, told)
	}
}

// That the agent asks for all three of them before it starts a worker of another user is not just its own rule: the kernel lets it neither become
// that user without the first two, nor end a process of that user without the third (setuid(2), setgid(2), kill(2)).
func TestTheKernelAsksForThem(t *testing.T) {
	needRoot(t)
	rights := chartRights(t)
	as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner, Gid: owner}}
	become := func() error {
		cmd := exec.Command("true")
		cmd.SysProcAttr = as
		return cmd.Run()
	}
	theirs := exec.Command("cat")
	theirs.SysProcAttr = as
	_, err := theirs.StdinPipe() // which it waits for
	must(t, err)
	must(t, theirs.Start())
	t.Cleanup(func() {
		_ = theirs.Process.Kill()
		_ = theirs.Wait() // killed
	})
	end := func() error { return syscall.Kill(theirs.Process.Pid, 0) }
	for name, do := range map[string]func() error{"SETUID": become, "SETGID": become, "KILL": end} {
		if err := withRights(rights, do); err != nil {
			t.Errorf("with all capabilities of the chart: %v", err)
		}
		if err := withRights(without(rights, capabilityOf(t, name)), do); !errors.Is(err, syscall.EPERM) {
			t.Errorf("without %s: %v, want EPERM", name, err)
		}
	}
}

// What the lab's prober gets by with is what the chart gives to the agent. In a container of the node there is a filter of system calls, too.
func TestTheLookerHasTheRightsOfTheChart(t *testing.T) {
	rights := chartRights(t)
	status := newLooker(t, nodeOptions()).status()
	var bits uint64
	for _, c := range rights {
		bits |= 1 << c
	}
	all, none := fmt.Sprintf("%016x", bits), fmt.Sprintf("%016x", 0)
	want := map[string]string{"CapBnd": all, "CapPrm": all, "CapEff": all, "CapInh": none, "CapAmb": none, "NoNewPrivs": "1"}
	if os.Getenv(lookerCommandEnv) != "" {
		want["Seccomp"] = "2" // a filter
	}
	for key, value := range want {
		if status[key] != value {
			t.Errorf("%s of the looker is %s, want %s", key, status[key], value)
		}
	}
}
