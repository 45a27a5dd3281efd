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
	// settle is how long news are collected before they are judged: the state of now comes as one event a pod.
	settle = 500 * time.Millisecond
	// longest is for how long a pod that does not end is watched, to tell how long it took.
	longest = 24 * time.Hour
	// callTimeout bounds each call to the API server, and the answer that begins a watch.
	callTimeout = 10 * time.Second
	// shortest keeps a loop from spinning, whatever the clock does.
	shortest = 20 * time.Millisecond
)

// patience is the backoff towards an API server that does not answer: all agents come back at different times.
func patience() wait.Backoff {
	return wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 1, Steps: 20, Cap: 30 * time.Second}
}

// pause waits and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// pursuit is the goroutine that follows one removal.
type pursuit struct {
	*Follower
	trail
	log    logr.Logger
	unsure bool // read from the books: it may never have been done
	cancel context.CancelFunc
	left   bool // run has returned; under Follower.mu

	watch   watch.Interface // nil while there is none
	hangUp  context.CancelFunc
	opened  time.Time
	openAt  time.Time // not before
	opening wait.Backoff
	from    string    // the resourceVersion that the watch goes on from; "" begins with what is there
	ordered bool      // the watch went on from one, so that it tells what was before the removal from what was after
	narrow  bool      // only the removed pod is of interest
	news    time.Time // when something came that was not judged yet; zero when all was
	blind   bool      // the last try to open the watch has failed

	markedUp bool      // in the books: a replacement proves itself
	markAt   time.Time // not before
	marking  wait.Backoff

	told    bool   // why the removed pod does not end
	why     string // that
	end     *finding
	noted   bool      // in the books
	late    bool      // it is followed beyond an end that was not healthy
	noteAt  time.Time // not before
	noting  wait.Backoff
	refused bool // the last try to write into the books has failed
}

func newPursuit(f *Follower, e ledger.Entry, removedAt time.Time) *pursuit {
	return &pursuit{
		Follower: f, trail: newTrail(e, removedAt, f.Config), opening: patience(), noting: patience(), marking: patience(),
		log: f.Log.WithValues(controllers.KeyPodUID, e.PodUID, controllers.KeyOwner, e.Namespace+"/"+e.Owner.String()),
	}
}

// run follows until the end is noted and the removed pod is gone, or until ctx ends.
func (p *pursuit) run(ctx context.Context) {
	defer p.disconnect()
	defer p.leaveLate()
	for ctx.Err() == nil {
		p.step(ctx)
		if p.over(p.Now()) {
			return
		}
		p.wait(ctx)
	}
}

func (p *pursuit) over(now time.Time) bool {
	ended := p.presence != present || p.end != nil && p.end.aftermath == controllers.AftermathPending
	return p.noted && ended && !p.isLate(now) || now.Sub(p.removedAt) > longest
}

// step does what is due.
func (p *pursuit) step(ctx context.Context) {
	p.connect(ctx, p.Now())
	if now := p.Now(); p.inSight(now) {
		p.news = time.Time{}
		p.doubt(ctx, now)
		p.checkEnd(ctx, now)
		p.conclude(ctx, now)
		p.markUp(ctx, now)
	}
	if !p.isLate(p.Now()) {
		p.leaveLate()
	}
	p.note(ctx, p.Now())
	p.narrowDown()
	p.record(p.Now())
}

// inSight reports whether all pods of now were seen, as far as a watch can tell.
func (p *pursuit) inSight(now time.Time) bool {
	return p.watch != nil && (p.news.IsZero() || !now.Before(p.news.Add(settle)))
}

// conclude judges once, and once more where a successor is healthy after all.
func (p *pursuit) conclude(ctx context.Context, now time.Time) {
	late := p.isLate(now)
	if p.end != nil && !late || p.doubtful() {
		return
	}
	f, err := p.judgeLive(ctx, now)
	switch {
	case err != nil:
		p.disconnect()
	case f.aftermath == controllers.AftermathPending:
	case !late:
		p.end = &f
	case f.aftermath == controllers.AftermathHealed && p.presence != present:
		p.healLate(f)
	}
}

// judgeLive judges, and asks the API server before it says what time alone has brought: a watch may have died in silence.
func (p *pursuit) judgeLive(ctx context.Context, now time.Time) (f finding, err error) {
	f = p.judge(now)
	switch {
	case f.isOfNothing() && p.end == nil:
		err = p.ask(ctx)
	case f.aftermath == controllers.AftermathHealed && p.entry.WellFor > 0:
		err = p.askFor(ctx, f.successor)
	default:
		return f, nil
	}
	return p.judge(now), err
}

// wait waits for the next event, or until something is due.
func (p *pursuit) wait(ctx context.Context) {
	timer := time.NewTimer(max(p.due().Sub(p.Now()), shortest))
	defer timer.Stop()
	var events <-chan watch.Event
	if p.watch != nil {
		events = p.watch.ResultChan()
	}
	select {
	case <-ctx.Done():
	case <-timer.C:
	case e, ok := <-events:
		p.take(ctx, e, ok)
	}
}

// due returns when step has something to do although nothing comes.
func (p *pursuit) due() time.Time {
	at := p.removedAt.Add(longest)
	sooner := func(when bool, t time.Time) {
		if when && t.Before(at) {
			at = t
		}
	}
	seeing, settled := p.watch != nil, p.news.IsZero()
	sooner(!seeing, p.openAt)
	sooner(seeing && !settled, p.news.Add(settle))
	now := p.Now()
	next, late := p.next(now), p.isLate(now)
	sooner(seeing && settled && (p.end == nil || late) && !next.IsZero(), next)
	sooner(late, p.deadline.Add(lateFor))
	sooner(seeing && settled && p.mustMarkUp(now), p.markAt)
	sooner(seeing && settled && p.isEnding() && !p.told, p.stuckAt)
	sooner(seeing && settled && p.doubtful(), p.entry.At.Add(lastCall))
	sooner(p.end != nil && !p.noted, p.noteAt)
	return at
}
