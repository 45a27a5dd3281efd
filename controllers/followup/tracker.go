package followup

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
)

const (
	// settleTime is how long events are collected before they are judged, because the present state
	// arrives as one event for each pod.
	settleTime = 500 * time.Millisecond
	// maxFollowTime is for how long a pod that does not end is watched, to report how long it took.
	maxFollowTime = 24 * time.Hour
	// callTimeout bounds each call to the API server, and the wait for the first response of a
	// watch.
	callTimeout = 10 * time.Second
	// minWait keeps a loop from spinning, whatever the clock does.
	minWait = 20 * time.Millisecond
)

// newBackoff is the backoff for an API server that does not respond. Its jitter lets agents come
// back at different times.
func newBackoff() wait.Backoff {
	return wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 1, Steps: 20, Cap: 30 * time.Second}
}

// waitOrDone waits. It reports false if ctx ended meanwhile.
func waitOrDone(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// tracker is the goroutine that follows one eviction, and its state. Follower.mu guards finished; the
// other fields are set before the goroutine starts, or are its own.
type tracker struct {
	*Follower
	removalState
	log         logr.Logger
	unconfirmed bool // read from the ledger: it may never have been done
	cancel      context.CancelFunc
	finished    bool // run has returned; under Follower.mu

	watch         watch.Interface // nil while there is none
	cancelWatch   context.CancelFunc
	openedAt      time.Time
	openAt        time.Time // not opened before this
	openBackoff   wait.Backoff
	fromVersion   string    // the resourceVersion that the watch starts from; "" is the present state
	ordered       bool      // the watch started from one: it tells changes before and after the eviction apart
	removedOnly   bool      // only the evicted pod is watched
	unjudgedSince time.Time // when the first event came that is not judged yet; zero when all are
	disconnected  bool      // the last attempt to open the watch has failed

	markedUp    bool      // in the ledger: a replacement is up
	markAt      time.Time // not tried before this
	markBackoff wait.Backoff

	stuckReported bool            // why the evicted pod does not end
	stuckReason   string          // the reported reason
	result        *followUpResult // nil until there is one
	written       bool            // in the ledger
	late          bool            // it is followed beyond a result that was no success
	writeAt       time.Time       // not tried before this
	writeBackoff  wait.Backoff
	writeFailed   bool // an attempt to write into the ledger has failed
}

func newTracker(f *Follower, e ledger.Entry, removedAt time.Time) *tracker {
	return &tracker{
		Follower: f, removalState: newRemovalState(e, removedAt, f.Config), openBackoff: newBackoff(), writeBackoff: newBackoff(), markBackoff: newBackoff(),
		log: f.Log.WithValues(controllers.KeyPodUID, e.PodUID, controllers.KeyOwner, e.Namespace+"/"+e.Owner.String()),
	}
}

// run follows until the result is written and the evicted pod is gone, or until ctx ends.
func (t *tracker) run(ctx context.Context) {
	defer t.closeWatch()
	defer t.releaseLate()
	for ctx.Err() == nil {
		t.runStep(ctx)
		if t.isOver(t.Now()) {
			return
		}
		t.awaitEvent(ctx)
	}
}

func (t *tracker) isOver(now time.Time) bool {
	ended := t.presence != present || t.result != nil && t.result.aftermath == controllers.AftermathPending
	return t.written && ended && !t.isLate(now) || now.Sub(t.removedAt) > maxFollowTime
}

// runStep does what is due.
func (t *tracker) runStep(ctx context.Context) {
	t.connectWatch(ctx, t.Now())
	if now := t.Now(); t.sawAllPods(now) {
		t.unjudgedSince = time.Time{}
		t.releaseDoubtful(ctx, now)
		t.checkTermination(ctx, now)
		t.judgeOnce(ctx, now)
		t.markReplacementUp(ctx, now)
	}
	if !t.isLate(t.Now()) {
		t.releaseLate()
	}
	t.closeRemoval(ctx, t.Now())
	t.narrowWatch()
	t.updateHistory(t.Now())
}

// sawAllPods reports whether all present pods were seen, as far as a watch shows them.
func (t *tracker) sawAllPods(now time.Time) bool {
	return t.watch != nil && (t.unjudgedSince.IsZero() || !now.Before(t.unjudgedSince.Add(settleTime)))
}

// judgeOnce sets the result, and replaces it when a replacement becomes healthy late.
func (t *tracker) judgeOnce(ctx context.Context, now time.Time) {
	late := t.isLate(now)
	if t.result != nil && !late || t.isDoubtful() {
		return
	}
	f, err := t.judgeConfirmed(ctx, now)
	switch {
	case err != nil:
		t.closeWatch()
	case f.aftermath == controllers.AftermathPending:
	case !late:
		t.result = &f
	case f.aftermath == controllers.AftermathHealed && t.presence != present:
		t.replaceResult(f)
	}
}

// judgeConfirmed judges. Before it returns what follows from time alone, it reads from the API
// server, because a watch may be dead without notice.
func (t *tracker) judgeConfirmed(ctx context.Context, now time.Time) (f followUpResult, err error) {
	f = t.judgeReplacements(now)
	switch {
	case f.isInconclusive() && t.result == nil:
		err = t.readRemovedPod(ctx)
	case f.aftermath == controllers.AftermathHealed && t.entry.WellFor > 0:
		err = t.readReplacement(ctx, f.replacement)
	default:
		return f, nil
	}
	return t.judgeReplacements(now), err
}

// awaitEvent waits for the next event, or until something is due.
func (t *tracker) awaitEvent(ctx context.Context) {
	timer := time.NewTimer(max(t.nextStepAt().Sub(t.Now()), minWait))
	defer timer.Stop()
	var events <-chan watch.Event
	if t.watch != nil {
		events = t.watch.ResultChan()
	}
	select {
	case <-ctx.Done():
	case <-timer.C:
	case e, ok := <-events:
		t.handleEvent(ctx, e, ok)
	}
}

// nextStepAt returns when runStep has something to do even if no event comes.
func (t *tracker) nextStepAt() time.Time {
	at := t.removedAt.Add(maxFollowTime)
	sooner := func(when bool, t time.Time) {
		if when && t.Before(at) {
			at = t
		}
	}
	seeing, settled := t.watch != nil, t.unjudgedSince.IsZero()
	sooner(!seeing, t.openAt)
	sooner(seeing && !settled, t.unjudgedSince.Add(settleTime))
	now := t.Now()
	next, late := t.nextChangeAt(now), t.isLate(now)
	sooner(seeing && settled && (t.result == nil || late) && !next.IsZero(), next)
	sooner(late, t.deadline.Add(lateTime))
	sooner(seeing && settled && t.mustMarkUp(now), t.markAt)
	sooner(seeing && settled && t.isTerminating() && !t.stuckReported, t.stuckAt)
	sooner(seeing && settled && t.isDoubtful(), t.entry.At.Add(actDeadline))
	sooner(t.result != nil && !t.written, t.writeAt)
	return at
}
