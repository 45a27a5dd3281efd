package worker

import (
	"errors"
	"time"

	"github.com/mountwarden/mountwarden/probes/proc"
)

// tidy lets idle workers go, and ends those whose parked look nobody can use any more.
func (p *Pool) tidy() {
	ticker := time.NewTicker(tidyInterval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			p.shrink(now)
			p.endOrphans()
		case <-p.spawner.quit:
			return
		}
	}
}

func (p *Pool) shrink(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > keepIdle && now.Sub(p.idle[0].idleSince) > p.opts.IdleAfter {
		p.dismiss()
	}
}

// endOrphans kills the parked workers whose container is gone: their descriptors would keep its file
// systems from being unmounted, and nobody waits for the answer.
func (p *Pool) endOrphans() {
	for w, target := range p.parkedWorkers() {
		if errors.Is(target.Check(), proc.ErrGone) {
			w.kill()
		}
	}
}

// parkedWorkers returns the target that each goes through.
func (p *Pool) parkedWorkers() map[*child]*proc.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	parked := map[*child]*proc.Process{}
	for b := range p.batches {
		if b.parked {
			parked[b.worker] = b.stuckIn
		}
	}
	return parked
}
