package check

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// MaxItems is how many requests one batch holds at most.
const MaxItems = 128

// BoardSize is the length in bytes of the memory of a Board.
const BoardSize = int(unsafe.Sizeof(Board{}))

// Board is the memory that an agent and one of its workers share. The worker writes on it how far it is in its batch, so
// that no message is needed for that, and a hang names its item, its stage, and its beginning.
//
// One word holds the item, its stage, and what the agent has taken away. Both sides change it by compare-and-swap, so
// of "the worker begins the next item" and "the agent cuts the batch" exactly one happens. An item's answer is on
// the board before the word leaves the item, and does not change afterwards in the same batch.
type Board struct {
	word    atomic.Uint64
	records [MaxItems]record
}

// record is one item's part of a Board.
type record struct {
	begun   atomic.Int64 // nanoseconds of CLOCK_MONOTONIC
	mountID atomic.Uint64
	end     atomic.Uint64 // stage, flags and errno
}

// unanswered is the end of an item that has begun; no answer looks like it. It keeps one of a former batch from being read.
const unanswered = ^uint64(0)

// The word: a flag in the lowest byte, the stage in the next, above them the item counted from 1.
const (
	wordCut    = 1 // no further item may be begun
	stageShift = 8
	itemShift  = 16
)

// BoardAt takes mem, which must be BoardSize bytes of mapped memory, for a Board.
func BoardAt(mem []byte) *Board { return (*Board)(unsafe.Pointer(unsafe.SliceData(mem))) }

func wordOf(item int, s Stage) uint64 { return uint64(item+1)<<itemShift | uint64(s)<<stageShift }

// Reset is the agent's: a batch follows, and the worker is idle.
func (b *Board) Reset() { b.word.Store(0) }

// Begin is the worker's: it writes that item, and with it StageRoot, begins now. It reports false when the batch is cut.
func (b *Board) Begin(item int, now time.Duration) bool {
	b.records[item].begun.Store(int64(now))
	b.records[item].end.Store(unanswered)
	return b.leave(wordOf(item, StageRoot))
}

// End is the worker's: all items of the batch are answered. It reports false when the batch was cut.
func (b *Board) End(items int) bool { return b.leave(wordOf(items, StageRoot)) }

func (b *Board) leave(next uint64) bool {
	word := b.word.Load()
	return word&wordCut == 0 && b.word.CompareAndSwap(word, next) // it fails only for a cut
}

// Enter is the worker's: the stage of the item begins now.
func (b *Board) Enter(s Stage) {
	for {
		word := b.word.Load()
		if b.word.CompareAndSwap(word, word&^(0xff<<stageShift)|uint64(s)<<stageShift) {
			return
		}
	}
}

// Record is the worker's: it writes an item's answer.
func (b *Board) Record(item int, a Answer) {
	b.records[item].mountID.Store(a.MountID)
	b.records[item].end.Store(uint64(a.Errno)<<16 | uint64(a.flags())<<8 | uint64(a.Stage))
}

// Progress is how far a worker is in its batch.
type Progress struct {
	Item  int // counted from 0: those before it are answered. -1: none has begun. The batch's length: all are answered
	Stage Stage
	Begun time.Duration // when the Item began, as sys.Monotonic counts
	Cut   bool          // no item after Item will be begun
	word  uint64        // from which all but Begun was read
}

// Progress is the agent's. The error tells that the worker has written what it never should.
func (b *Board) Progress() (Progress, error) {
	word := b.word.Load()
	item := int(word>>itemShift) - 1
	p := Progress{Item: item, Stage: Stage(word >> stageShift), Cut: word&wordCut != 0, word: word}
	if item > MaxItems || p.Stage >= stages || word&0xff > wordCut {
		return Progress{Item: -1}, errProtocol
	}
	if item >= 0 && item < MaxItems {
		p.Begun = time.Duration(b.records[item].begun.Load())
	}
	return p, nil
}

// Cut is the agent's: it takes the items after p.Item away, unless the worker has gone on since p was read.
func (b *Board) Cut(p Progress) bool { return b.word.CompareAndSwap(p.word, p.word|wordCut) }

// Answer is the agent's: it reads the answer of an item that Progress tells is answered. The error tells that the
// worker has written what it never should.
func (b *Board) Answer(item int) (Answer, error) {
	r := &b.records[item]
	end := r.end.Load()
	a := Answer{Stage: Stage(end), Errno: syscall.Errno(end >> 16), MountID: r.mountID.Load()}
	if a.Stage >= stages || a.Errno > maxErrno || end>>8&0xff >= flagsEnd {
		return Answer{}, errProtocol
	}
	a.setFlags(byte(end >> 8))
	return a, nil
}

// maxErrno is the highest errno that the kernel returns (MAX_ERRNO of linux/err.h).
const maxErrno = 4095
