package faultfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"
)

// DefaultBackendGrace is how long a new mount answers without its backend.
const DefaultBackendGrace = 15 * time.Second

// backendPoll is how often the file that stands for the backend is looked for.
const backendPoll = 100 * time.Millisecond

// watchBackend makes statfs and lookup hang while the file opts.Backend is missing, and answer
// again once it is back. It begins opts.BackendGrace after the mount, because a FUSE that has just
// been mounted answers from nothing: rclone 1.60 invents the figures of statfs when its server
// refuses connections. The faults of both operations belong to it. stop waits until it has ended.
func watchBackend(ctx context.Context, opts Options, faults *Faults) (stop func()) {
	if opts.Backend == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until stop
	var watching sync.WaitGroup
	watching.Go(func() { followBackend(ctx, opts, faults) })
	return func() {
		cancel()
		watching.Wait()
	}
}

func followBackend(ctx context.Context, opts Options, faults *Faults) {
	grace := time.NewTimer(opts.backendGrace())
	defer grace.Stop()
	select {
	case <-ctx.Done():
		return
	case <-grace.C:
	}
	poll := time.NewTicker(backendPoll)
	defer poll.Stop()
	wasAway := false
	for {
		if away := isMissing(opts.Backend); away != wasAway {
			setBackendAway(faults, away)
			wasAway = away
		}
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

func setBackendAway(faults *Faults, away bool) {
	fault := Fault{}
	if away {
		fault = Hang()
	}
	faults.Set(Statfs, fault)
	faults.Set(Lookup, fault)
}

func isMissing(file string) bool {
	_, err := os.Lstat(file)
	return errors.Is(err, fs.ErrNotExist)
}
