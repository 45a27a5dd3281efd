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
	for _, b := range p.parkedBatches() {
		if errors.Is(b.target.Check(), proc.ErrGone) {
			b.worker.kill()
		}
	}
}

func (p *Pool) parkedBatches() (parked []*batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := range p.batches {
		if b.parked {
			parked = append(parked, b)
		}
	}
	return parked
}
