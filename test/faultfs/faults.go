package faultfs

import (
	"maps"
	"sync"
	"syscall"
	"time"
)

// Faults is the switch that every request passes. The zero Faults lets all pass.
// It is safe for concurrent use.
type Faults struct {
	mu      sync.Mutex
	byOp    map[Op]Fault
	changed chan struct{} // closed at each change; nil when no one waits for one
	held    int
}

// Set gives op a fault in place of its earlier one; the zero Fault takes it away.
// Requests that are being held feel the new state at once.
func (f *Faults) Set(op Op, fault Fault) {
	f.change(func() {
		delete(f.byOp, op)
		if fault == (Fault{}) {
			return
		}
		if f.byOp == nil {
			f.byOp = map[Op]Fault{}
		}
		f.byOp[op] = fault
	})
}

// Clear takes all faults away and lets held requests go on to their true answers.
func (f *Faults) Clear() {
	f.change(func() { clear(f.byOp) })
}

// Snapshot tells the faults of now, and how many requests are held by them.
func (f *Faults) Snapshot() (byOp map[Op]Fault, held int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.byOp), f.held
}

// Pass holds a request of the kind op for as long as the faults say, and returns
// the error to answer with, or 0 for the true answer. It knows no cancellation, as
// a hung server does not either: only Set and Clear free a request.
func (f *Faults) Pass(op Op) syscall.Errno {
	for {
		fault, changed := f.enter(op)
		if fault.errno != 0 || fault == (Fault{}) {
			return fault.errno
		}
		if f.hold(fault, changed) {
			return 0
		}
	}
}

// hold waits out the fault, or until something changes, and tells which it was.
func (f *Faults) hold(fault Fault, changed <-chan struct{}) (over bool) {
	defer f.leave()
	var elapsed <-chan time.Time // never, when the fault is to hang
	if !fault.hang {
		timer := time.NewTimer(fault.delay)
		defer timer.Stop()
		elapsed = timer.C
	}
	select {
	case <-elapsed:
		return true
	case <-changed:
		return false
	}
}

// enter looks up the fault of op and, when that one holds requests, counts one and
// gives the channel that ends the wait.
func (f *Faults) enter(op Op) (Fault, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, ok := f.byOp[op]
	if !ok {
		fault = f.byOp[All]
	}
	if !fault.hang && fault.delay == 0 {
		return fault, nil
	}
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	f.held++
	return fault, f.changed
}

func (f *Faults) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held--
}

func (f *Faults) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}
