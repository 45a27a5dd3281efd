package followup

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
)

// Follower follows evictions to their end. It is safe for concurrent use.
type Follower struct {
	Options

	history history

	wake   chan struct{} // holds one: there is something in queue
	recall chan struct{} // holds one: the ledger is to be read again

	mu          sync.Mutex
	queue       []*tracker
	followed    map[types.UID]*tracker
	lateCount   int  // how many are followed beyond their end
	pendingRead bool // no call of Pending is under way, which could bring back what is over already
}

// New returns a Follower. It follows nothing before Start.
func New(o Options) *Follower {
	return &Follower{Options: o, wake: make(chan struct{}, 1), recall: make(chan struct{}, 1), followed: map[types.UID]*tracker{}}
}

// Follow follows an eviction that the API server has just accepted. One that it may have accepted
// is for Recall. It does not block. What is handed over after the end of Start is followed by the
// agent that starts next.
func (f *Follower) Follow(e ledger.Entry, removed *corev1.Pod) {
	now := f.Now()
	f.Meter.Took(controllers.PhaseAct, now.Sub(e.Since))
	if e.At.IsZero() {
		e.At = now
	}
	p := newTracker(f, e, now)
	p.observePod(removed, now)
	p.fromVersion = removed.ResourceVersion
	f.enqueueTracker(p)
}

// Start follows until ctx ends, and then waits for all that it has started. It begins with what an
// earlier agent of this node left pending. It implements manager.Runnable.
func (f *Follower) Start(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { f.readPending(ctx) })
	for {
		for _, p := range f.takeQueue() {
			f.startTracker(ctx, &running, p)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
	}
}

// Recall has the ledger read for evictions of this node that nobody follows: one that was reserved
// and perhaps not done, or one that could not be given back. It does not block.
func (f *Follower) Recall() {
	select {
	case f.recall <- struct{}{}:
	default: // it is read anyway
	}
}

// readPending reads the ledger at the start, and after each Recall.
func (f *Follower) readPending(ctx context.Context) {
	for {
		f.resumePending(ctx)
		select {
		case <-ctx.Done():
			return
		case <-f.recall:
		}
	}
}

// resumePending continues what is pending, as soon as the ledger can be read.
func (f *Follower) resumePending(ctx context.Context) {
	f.mu.Lock()
	f.pendingRead = false
	f.mu.Unlock()
	pending, err := f.Ledger.Pending(ctx)
	if err != nil {
		f.Log.Info("Removals of before cannot be read yet", controllers.KeyDetail, err.Error())
	}
	for retry := newBackoff(); err != nil; pending, err = f.Ledger.Pending(ctx) {
		if !waitOrDone(ctx, retry.Step()) {
			return
		}
	}
	f.enqueuePending(pending)
}

// enqueuePending queues what is not followed already, and drops what was over before Pending had
// returned.
func (f *Follower) enqueuePending(pending []ledger.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range pending {
		p := newTracker(f, e, e.At)
		p.unconfirmed = true
		if f.mustTrack(p) {
			f.queue = append(f.queue, p)
		}
	}
	f.pendingRead = true
	maps.DeleteFunc(f.followed, func(_ types.UID, p *tracker) bool { return p.finished })
	f.wakeStart()
}

// mustTrack reports whether the tracker is to be run: each pod is followed once. One that was read
// from the ledger gives way to the eviction itself, and to a later entry of the ledger. The caller
// holds mu.
func (f *Follower) mustTrack(p *tracker) bool {
	old := f.followed[p.entry.PodUID]
	return old == nil || old.unconfirmed && (!p.unconfirmed || p.entry.At.After(old.entry.At))
}

func (f *Follower) enqueueTracker(p *tracker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, p)
	f.wakeStart()
}

// wakeStart has Start read the queue.
func (f *Follower) wakeStart() {
	select {
	case f.wake <- struct{}{}:
	default: // it reads the queue anyway
	}
}

func (f *Follower) takeQueue() []*tracker {
	f.mu.Lock()
	defer f.mu.Unlock()
	queue := f.queue
	f.queue = nil
	return queue
}

func (f *Follower) startTracker(ctx context.Context, running *sync.WaitGroup, p *tracker) {
	ctx, p.cancel = context.WithCancel(ctx)
	if !f.addTracker(p) {
		p.cancel()
		return
	}
	running.Go(func() {
		defer f.removeTracker(p)
		p.run(ctx)
	})
}

// addTracker reports whether the tracker is to be run. It then replaces the one that follows the
// same pod.
func (f *Follower) addTracker(p *tracker) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mustTrack(p) {
		return false
	}
	if old := f.followed[p.entry.PodUID]; old != nil {
		old.cancel()
	}
	f.followed[p.entry.PodUID] = p
	if len(f.followed) > maxFollowed {
		f.abandonOldest()
	}
	return true
}

// maxFollowed is how many evictions are followed at a time. Each costs a watch and some 200 KiB for
// as long as the evicted pod stays, which its author chooses by its grace period and its
// finalizers.
const maxFollowed = 128

// abandonOldest ends the oldest tracker of the namespace that has the most. Its result is lost, and
// its entry expires. The caller holds mu.
func (f *Follower) abandonOldest() {
	counts := map[string]int{}
	for _, p := range f.followed {
		counts[p.entry.Namespace]++
	}
	oldest := slices.MaxFunc(slices.Collect(maps.Values(f.followed)), func(a, b *tracker) int {
		return cmp.Or(counts[a.entry.Namespace]-counts[b.entry.Namespace], strings.Compare(b.entry.Namespace, a.entry.Namespace), b.removedAt.Compare(a.removedAt))
	})
	oldest.log.Info("Removal is not followed any longer: too many are", controllers.KeyTook, formatDuration(f.Now().Sub(oldest.removedAt)))
	oldest.cancel()
	delete(f.followed, oldest.entry.PodUID)
}

func (f *Follower) removeTracker(p *tracker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.cancel()
	p.finished = true
	if f.pendingRead && f.followed[p.entry.PodUID] == p {
		delete(f.followed, p.entry.PodUID)
	}
}
