package check

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// MaxItems is how many requests one batch holds at most.
const MaxItems = 128

// ProgressPageSize is the length in bytes of a ProgressPage.
const ProgressPageSize = int(unsafe.Sizeof(ProgressPage{}))

// ProgressPage is the memory that an agent and one of its workers share. The worker writes into it
// how far it is in its batch, so that no message is needed for that, and a hang has its item, its
// stage and its beginning.
//
// One word holds the item, its stage, and what the agent has cut off. Both sides change it by
// compare-and-swap, so of "the worker begins the next item" and "the agent cuts the batch" exactly
// one happens. The answer to an item is in the page before the word leaves the item, and does not
// change afterwards in the same batch.
//
//	agent:  Reset --> send the batch            Progress ... Cut     Answer(0), Answer(1), ...
//	worker:           Begin(0) Enter ... Record(0) Begin(1) ... End --> send KindDone
type ProgressPage struct {
	word    atomic.Uint64
	records [MaxItems]record
}

// record is one item's part of the page.
type record struct {
	begun   atomic.Int64 // nanoseconds of CLOCK_MONOTONIC
	mountID atomic.Uint64
	end     atomic.Uint64 // stage, flags and errno
}

// unanswered is the end of an item that has begun; no answer looks like it. It keeps an answer of
// an earlier batch from being read.
const unanswered = ^uint64(0)

// The word: a flag in the lowest byte, the stage in the next, above them the item counted from 1.
const (
	wordCut    = 1 // no further item may be begun
	stageShift = 8
	itemShift  = 16
)

// ProgressPageAt returns mem, which must be ProgressPageSize bytes of mapped memory, as a
// ProgressPage.
func ProgressPageAt(mem []byte) *ProgressPage {
	return (*ProgressPage)(unsafe.Pointer(unsafe.SliceData(mem)))
}

// packWord returns the word for a stage of an item.
func packWord(item int, s Stage) uint64 { return uint64(item+1)<<itemShift | uint64(s)<<stageShift }

// Reset is called by the agent while the worker is idle, before it sends a batch.
func (p *ProgressPage) Reset() { p.word.Store(0) }

// Begin is called by the worker: item begins now, at StageRoot. It reports false when the batch is
// cut.
func (p *ProgressPage) Begin(item int, now time.Duration) bool {
	p.records[item].begun.Store(int64(now))
	p.records[item].end.Store(unanswered)
	return p.advanceTo(packWord(item, StageRoot))
}

// End is called by the worker: all items of the batch are answered. It reports false when the
// batch was cut.
func (p *ProgressPage) End(items int) bool { return p.advanceTo(packWord(items, StageRoot)) }

// advanceTo moves on to the next word, unless the batch is cut.
func (p *ProgressPage) advanceTo(next uint64) bool {
	word := p.word.Load()
	return word&wordCut == 0 && p.word.CompareAndSwap(word, next) // it fails only for a cut
}

// Enter is called by the worker: the stage of the item begins now.
func (p *ProgressPage) Enter(s Stage) {
	for {
		word := p.word.Load()
		if p.word.CompareAndSwap(word, word&^(0xff<<stageShift)|uint64(s)<<stageShift) {
			return
		}
	}
}

// Record is called by the worker: it writes the answer to an item.
func (p *ProgressPage) Record(item int, a Answer) {
	p.records[item].mountID.Store(a.MountID)
	p.records[item].end.Store(uint64(a.Errno)<<16 | uint64(a.packFlags())<<8 | uint64(a.Stage))
}

// Progress is how far a worker is in its batch.
type Progress struct {
	Item  int // from 0; those before it are answered. -1: none has begun; the batch's length: all are answered
	Stage Stage
	Begun time.Duration // when the Item began, as sys.Monotonic counts
	Cut   bool          // no item after Item will be begun
	word  uint64        // from which all but Begun was read
}

// Progress is called by the agent. An error means that the worker has written what it never
// should.
func (p *ProgressPage) Progress() (Progress, error) {
	word := p.word.Load()
	item := int(word>>itemShift) - 1
	at := Progress{Item: item, Stage: Stage(word >> stageShift), Cut: word&wordCut != 0, word: word}
	if item > MaxItems || at.Stage >= stages || word&0xff > wordCut {
		return Progress{Item: -1}, errProtocol
	}
	if item >= 0 && item < MaxItems {
		at.Begun = time.Duration(p.records[item].begun.Load())
	}
	return at, nil
}

// Cut is called by the agent: it takes the items after at.Item away, unless the worker has gone on
// since at was read.
func (p *ProgressPage) Cut(at Progress) bool { return p.word.CompareAndSwap(at.word, at.word|wordCut) }

// Answer is called by the agent: it reads the answer to an item that is answered according to
// Progress. An error means that the worker has written what it never should.
func (p *ProgressPage) Answer(item int) (Answer, error) {
	r := &p.records[item]
	end := r.end.Load()
	a := Answer{Stage: Stage(end), Errno: syscall.Errno(end >> 16), MountID: r.mountID.Load()}
	if a.Stage >= stages || a.Errno > maxErrno || end>>8&0xff >= flagsEnd {
		return Answer{}, errProtocol
	}
	a.unpackFlags(byte(end >> 8))
	return a, nil
}

// maxErrno is the highest errno that the kernel returns (MAX_ERRNO of linux/err.h).
const maxErrno = 4095
