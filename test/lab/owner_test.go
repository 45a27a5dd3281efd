package lab_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/worker"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// owned is a container with a FUSE that answers only its owner, and a pool to look at it as whoever.
type owned struct {
	t      *testing.T
	server *faultfs.Server
	pool   *worker.Pool
	task   worker.Task
}

const owner = 1000

func newOwned(t *testing.T) *owned {
	t.Helper()
	binary := ownWorker(t)
	must(t, os.Chmod(filepath.Dir(binary), 0o755)) // other users execute it
	o := &owned{t: t, server: newVolume(t, faultfs.Options{OwnerOnly: true, Owner: owner})}
	c := newContainer(t, spec{Binds: map[string]string{"/data": o.server.Mountpoint()}})
	var err error
	o.pool, err = worker.New(worker.Options{WorkerPath: binary})
	must(t, err)
	t.Cleanup(func() { must(t, o.pool.Close(context.Background())) })
	finder := proc.NewFinder("/proc")
	t.Cleanup(finder.Close)
	eventually(t, "container found", func() bool {
		o.task.Target, err = finder.Find(c.id)
		return err == nil
	})
	o.task.Request.Path = "/data"
	o.task.Request.MountID = o.look(nil, timeout).Answer.MountID // nobody is asked for that
	o.task.Device = "the owner's"
	return o
}

func (o *owned) look(as *worker.Credential, timeout time.Duration) worker.Result {
	o.t.Helper()
	o.task.As = as
	return o.pool.Look(o.t.Context(), []worker.Task{o.task}, timeout)[0]
}

func (o *owned) expect(as *worker.Credential, health probes.Health, cause probes.Cause) {
	o.t.Helper()
	r := o.look(as, timeout)
	found := check.Judge(r.Answer)
	if r.Err != nil || !r.Since.IsZero() || found.Health != health || found.Cause != cause {
		o.t.Errorf("as %+v: %+v means %+v, want %s/%s", as, r, found, health, cause)
	}
}

// A FUSE without allow_other tells the truth to its owner only: to others it proves nothing, alive or dead.
func TestOwnerIsToldTheTruth(t *testing.T) {
	o := newOwned(t)
	same := &worker.Credential{UID: owner, GID: owner}
	others := []*worker.Credential{nil, {UID: owner, GID: owner + 1}, {UID: owner + 1, GID: owner}}
	for _, as := range others {
		o.expect(as, probes.Unknown, probes.CauseNone)
	}
	o.expect(same, probes.Healthy, probes.CauseNone)

	for _, pid := range children(t) {
		status := field(t, pid)
		const kept = "0000000000080004" // CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, as any worker
		for key, want := range map[string]string{"NoNewPrivs": "1", "CapEff": kept, "CapPrm": kept, "CapInh": "0000000000000000",
			"CapAmb": "0000000000000000", "CapBnd": kept} {
			if status[key] != want {
				t.Errorf("%s of the worker of user %s is %s, want %s", key, status["Uid"], status[key], want)
			}
		}
	}
	if stats := o.pool.Stats(); stats.Undropped != "" || stats.Workers != 1+len(others) {
		t.Errorf("%+v", stats)
	}

	must(t, o.server.Kill())
	o.expect(same, probes.Broken, probes.CauseDisconnected)
	for _, as := range others {
		o.expect(as, probes.Unknown, probes.CauseNone)
	}
}

// A hang is seen by the owner's worker only, which ends with the pool although it is another user's.
func TestOwnerIsLeftWaiting(t *testing.T) {
	o := newOwned(t)
	same := &worker.Credential{UID: owner, GID: owner}
	o.expect(same, probes.Healthy, probes.CauseNone)
	must(t, o.server.Stop())
	r := o.look(same, hangTimeout)
	if r.Err != nil || r.Since.IsZero() {
		t.Errorf("no hang: %+v", r)
	}
	if stats := o.pool.Stats(); stats.Parked != 1 {
		t.Errorf("%+v", stats)
	}
	var mine []string
	for _, pid := range children(t) {
		if uid := field(t, pid)["Uid"]; strings.HasPrefix(uid, fmt.Sprint(owner)) {
			mine = append(mine, uid)
		}
	}
	if len(mine) != 1 {
		t.Errorf("workers of the owner: %q", mine)
	}
	must(t, o.pool.Close(context.Background()))
	if left := children(t); len(left) != 0 {
		t.Errorf("workers left: %v", left)
	}
	must(t, o.server.Continue())
}
