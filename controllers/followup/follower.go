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

// Follower follows removals to their end. It is safe for concurrent use.
type Follower struct {
	Options

	journal journal

	wake   chan struct{} // holds one: there is something in queue
	recall chan struct{} // holds one: the books are to be read again

	mu       sync.Mutex
	queue    []*pursuit
	followed map[types.UID]*pursuit
	late     int  // of them are followed beyond their end
	resumed  bool // Pending is not being asked, and so cannot bring back what is over already
}

// New returns a Follower. It follows nothing before Start.
func New(o Options) *Follower {
	return &Follower{Options: o, wake: make(chan struct{}, 1), recall: make(chan struct{}, 1), followed: map[types.UID]*pursuit{}}
}

// Follow follows a removal that the API server has just accepted. One that it may have accepted is Recall's. It does not block. What is
// handed over after Start's end is followed by the agent that starts next.
func (f *Follower) Follow(e ledger.Entry, removed *corev1.Pod) {
	now := f.Now()
	f.Meter.Took(controllers.PhaseAct, now.Sub(e.Since))
	if e.At.IsZero() {
		e.At = now
	}
	p := newPursuit(f, e, now)
	p.see(removed, now)
	p.from = removed.ResourceVersion
	f.enqueue(p)
}

// Start follows until ctx ends, and then waits for all that it has started. First it goes on with what an agent of this
// node began before. It implements manager.Runnable.
func (f *Follower) Start(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { f.read(ctx) })
	for {
		for _, p := range f.take() {
			f.launch(ctx, &running, p)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
	}
}

// Recall has the books read for removals of this node that nobody follows: one that was reserved, and perhaps not done, or that could
// not be given back. It does not block.
func (f *Follower) Recall() {
	select {
	case f.recall <- struct{}{}:
	default: // they will be read anyway
	}
}

// read reads the books at the start, and whenever somebody asks for it.
func (f *Follower) read(ctx context.Context) {
	for {
		f.resume(ctx)
		select {
		case <-ctx.Done():
			return
		case <-f.recall:
		}
	}
}

// resume goes on with what is pending, as soon as the API server tells.
func (f *Follower) resume(ctx context.Context) {
	f.mu.Lock()
	f.resumed = false
	f.mu.Unlock()
	pending, err := f.Books.Pending(ctx)
	if err != nil {
		f.Log.Info("Removals of before cannot be read yet", controllers.KeyDetail, err.Error())
	}
	for retry := patience(); err != nil; pending, err = f.Books.Pending(ctx) {
		if !pause(ctx, retry.Step()) {
			return
		}
	}
	f.goOn(pending)
}

// goOn queues what is not followed already, and lets go what was over before Pending had answered.
func (f *Follower) goOn(pending []ledger.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range pending {
		p := newPursuit(f, e, e.At)
		p.unsure = true
		if f.isNews(p) {
			f.queue = append(f.queue, p)
		}
	}
	f.resumed = true
	maps.DeleteFunc(f.followed, func(_ types.UID, p *pursuit) bool { return p.left })
	f.tell()
}

// isNews reports whether the pursuit is to be run: each pod is followed once. One that was read from the books gives way to the removal
// that it foresaw, and to a later one of the books. The caller holds mu.
func (f *Follower) isNews(p *pursuit) bool {
	old := f.followed[p.entry.PodUID]
	return old == nil || old.unsure && (!p.unsure || p.entry.At.After(old.entry.At))
}

func (f *Follower) enqueue(p *pursuit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, p)
	f.tell()
}

// tell has Start look into the queue.
func (f *Follower) tell() {
	select {
	case f.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (f *Follower) take() []*pursuit {
	f.mu.Lock()
	defer f.mu.Unlock()
	queue := f.queue
	f.queue = nil
	return queue
}

func (f *Follower) launch(ctx context.Context, running *sync.WaitGroup, p *pursuit) {
	ctx, p.cancel = context.WithCancel(ctx)
	if !f.enter(p) {
		p.cancel()
		return
	}
	running.Go(func() {
		defer f.leave(p)
		p.run(ctx)
	})
}

// enter reports whether the pursuit is to be run, in place of the one that it replaces.
func (f *Follower) enter(p *pursuit) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.isNews(p) {
		return false
	}
	if old := f.followed[p.entry.PodUID]; old != nil {
		old.cancel()
	}
	f.followed[p.entry.PodUID] = p
	if len(f.followed) > maxFollowed {
		f.giveUpOne()
	}
	return true
}

// maxFollowed is how many removals are followed at a time. Each costs a watch and some 200 KiB, for as long as the removed pod stays, which
// its author chooses by its grace period and its finalizers.
const maxFollowed = 128

// giveUpOne ends the oldest pursuit of the namespace that has the most: what it would have told is lost, and its entry expires. The caller
// holds mu.
func (f *Follower) giveUpOne() {
	counts := map[string]int{}
	for _, p := range f.followed {
		counts[p.entry.Namespace]++
	}
	victim := slices.MaxFunc(slices.Collect(maps.Values(f.followed)), func(a, b *pursuit) int {
		return cmp.Or(counts[a.entry.Namespace]-counts[b.entry.Namespace], strings.Compare(b.entry.Namespace, a.entry.Namespace), b.removedAt.Compare(a.removedAt))
	})
	victim.log.Info("Removal is not followed any longer: too many are", controllers.KeyTook, span(f.Now().Sub(victim.removedAt)))
	victim.cancel()
	delete(f.followed, victim.entry.PodUID)
}

func (f *Follower) leave(p *pursuit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.cancel()
	p.left = true
	if f.resumed && f.followed[p.entry.PodUID] == p {
		delete(f.followed, p.entry.PodUID)
	}
}
