package supervise

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// reaper collects every child that ends: those it started, whose owner it tells, and the orphans
// that the kernel gives to pid 1. Only one may run in a process, and then nothing else in that process
// may wait for a child.
type reaper struct {
	mu     sync.Mutex
	owners map[int]chan<- syscall.WaitStatus
}

// start runs a program; its status comes on the channel when it has ended.
func (r *reaper) start(path string, argv []string, attr *os.ProcAttr) (*os.Process, <-chan syscall.WaitStatus, error) {
	// Held until the owner is noted: a child that ends at once must not be reaped as an orphan.
	r.mu.Lock()
	defer r.mu.Unlock()
	process, err := os.StartProcess(path, argv, attr)
	if err != nil {
		return nil, nil, err
	}
	status := make(chan syscall.WaitStatus, 1)
	r.owners[process.Pid] = status
	return process, status, nil
}

// run reaps until ctx ends.
func (r *reaper) run(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	defer signal.Stop(signals)
	for {
		r.drain()
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
	}
}

// drain collects every child that has ended; one SIGCHLD may stand for several.
func (r *reaper) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if owner, ok := r.owners[pid]; ok {
			delete(r.owners, pid)
			owner <- status // has room for the one status it gets
		}
	}
}
