package worker

import (
	"errors"
	"time"

	"github.com/mountwarden/mountwarden/probes/proc"
)

// runCleanup ends idle workers beyond the few that are kept, and parked ones whose answer nobody
// can use any more.
func (p *Pool) runCleanup() {
	ticker := time.NewTicker(cleanupInterval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			p.trimIdle(now)
			p.killOrphans()
		case <-p.spawner.quit:
			return
		}
	}
}

// trimIdle kills workers that have been idle for longer than IdleAfter.
func (p *Pool) trimIdle(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > keepIdle && now.Sub(p.idle[0].idleSince) > p.opts.IdleAfter {
		p.killLongestIdle()
	}
}

// killOrphans kills the parked workers whose container is gone. Their descriptors would keep its
// file systems from being unmounted, and nobody waits for the answer.
func (p *Pool) killOrphans() {
	for w, target := range p.parkedWorkers() {
		if errors.Is(target.Check(), proc.ErrGone) {
			w.killProcess()
		}
	}
}

// parkedWorkers returns the parked workers, each with the target that it is stuck in.
func (p *Pool) parkedWorkers() map[*workerProcess]*proc.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	parked := map[*workerProcess]*proc.Process{}
	for b := range p.batches {
		if b.parked {
			parked[b.worker] = b.stuckTarget
		}
	}
	return parked
}
