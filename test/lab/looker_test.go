package lab_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/capability"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/node"
)

// prober is who looks: in this process, or a looker.
type prober interface {
	Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation
}

const (
	// lookerEnv makes this binary a looker.
	lookerEnv = "MOUNTWARDEN_LAB_LOOKER"
	// lookerCommandEnv is a command, of words without blanks, that runs this binary as a looker somewhere else: in a container of the node.
	lookerCommandEnv = "MOUNTWARDEN_LAB_LOOKER_COMMAND"
)

// Looker is a prober in a process of its own, asked over its standard input and output. What breaks mounts needs far more rights than
// what looks at them; so the lab keeps its own for the former, and the looker has those of the agent's container and no more. It
// is this very binary with the prober and the workers of the agent.
type Looker struct{ prober *node.Prober }

// Question is one look.
type Question struct {
	Pod     probes.Pod
	Timeout time.Duration
}

// Open makes the prober.
func (l *Looker) Open(opts node.Options, _ *struct{}) (err error) {
	opts.WorkerPath = os.Getenv(workerEnv) // "" is beside this binary
	l.prober, err = node.New(opts)
	return err
}

// Probe looks.
func (l *Looker) Probe(q Question, seen *[]probes.Observation) error {
	*seen = l.prober.Probe(context.Background(), q.Pod, q.Timeout)
	return nil
}

// Stats is a snapshot of the workers.
func (l *Looker) Stats(_ struct{}, stats *node.Stats) error {
	*stats = l.prober.Stats()
	return nil
}

// Close ends the workers.
func (l *Looker) Close(struct{}, *struct{}) error {
	return l.prober.Close(context.Background())
}

// Status is the looker's proc_pid_status(5).
func (l *Looker) Status(_ struct{}, fields *map[string]string) (err error) { //nolint:gocritic // net/rpc asks for a pointer
	*fields, err = statusOf("self")
	return err
}

// pipes are the two ways of a connection.
type pipes struct {
	io.Reader
	io.WriteCloser
}

// lookIfChild is the looker's side. It ends with its input.
func lookIfChild() {
	if os.Getenv(lookerEnv) == "" {
		return
	}
	server := rpc.NewServer()
	if err := server.Register(&Looker{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server.ServeConn(pipes{os.Stdin, os.Stdout})
	os.Exit(0)
}

// remote is a looker as the lab sees it.
type remote struct {
	t      *testing.T
	client *rpc.Client
}

// newLooker starts a looker with the capabilities of the agent.
func newLooker(t *testing.T, opts node.Options) *remote {
	t.Helper()
	return newLookerWith(t, opts, chartRights(t))
}

// newLookerWith starts a looker with these capabilities, or where the environment says, with those that it has there.
func newLookerWith(t *testing.T, opts node.Options, rights []capability.Cap) *remote {
	t.Helper()
	needRoot(t)
	return startLooker(t, opts, nil, rights)
}

// startLooker starts a looker in namespaces and a cgroup of its own.
func startLooker(t *testing.T, opts node.Options, attr *syscall.SysProcAttr, rights []capability.Cap) *remote {
	t.Helper()
	cmd, start := exec.Command("/proc/self/exe"), func(cmd *exec.Cmd) error { return withRights(rights, cmd.Start) }
	if cmd.SysProcAttr = attr; attr != nil { // to make them takes rights that the agent has not
		start = (*exec.Cmd).Start
	}
	if words := strings.Fields(os.Getenv(lookerCommandEnv)); len(words) > 0 {
		cmd, start = exec.Command(words[0], words[1:]...), (*exec.Cmd).Start
	}
	cmd.Env = append(os.Environ(), lookerEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, start(cmd))
	r := &remote{t: t, client: rpc.NewClient(pipes{out, in})}
	t.Cleanup(func() {
		closed := r.client.Call("Looker.Close", struct{}{}, &struct{}{})
		if err := errors.Join(closed, r.client.Close(), cmd.Wait()); err != nil {
			t.Errorf("end of the looker: %v", err)
		}
	})
	must(t, r.client.Call("Looker.Open", opts, &struct{}{}))
	return r
}

// Probe has the looker look. A looker that is gone is no observation.
func (r *remote) Probe(_ context.Context, pod probes.Pod, timeout time.Duration) (seen []probes.Observation) {
	if err := r.client.Call("Looker.Probe", Question{pod, timeout}, &seen); err != nil {
		r.t.Errorf("ask the looker: %v", err)
	}
	return seen
}

// Stats returns a snapshot of the looker's workers.
func (r *remote) Stats() (stats node.Stats) {
	r.t.Helper()
	must(r.t, r.client.Call("Looker.Stats", struct{}{}, &stats))
	return stats
}

// status returns the looker's proc_pid_status(5).
func (r *remote) status() (fields map[string]string) {
	must(r.t, r.client.Call("Looker.Status", struct{}{}, &fields))
	return fields
}
