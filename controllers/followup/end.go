package followup

import (
	"context"
	"fmt"
	"time"

	"github.com/mountwarden/mountwarden/controllers"
)

// diagnosisTimeout bounds the look into the node's processes and mounts.
const diagnosisTimeout = 20 * time.Second

// isEnding reports whether the removed pod is still there and on its way out.
func (p *pursuit) isEnding() bool { return p.presence == present && p.removed.ending }

// checkEnd tells once why the removed pod does not end.
func (p *pursuit) checkEnd(ctx context.Context, now time.Time) {
	if p.told || !p.isEnding() || now.Before(p.stuckAt) {
		return
	}
	p.told = true
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	why := p.Diagnoser.Why(ctx, string(p.entry.PodUID))
	p.why = p.reason(why.Text) + p.abort(ctx, why.FUSE)
	p.stuckTerminating(now, p.why)
}

// reason completes what the node tells by what only the API does.
func (p *pursuit) reason(text string) string {
	if n := p.removed.holders; n > 0 {
		return fmt.Sprintf("%s; %d finalizers keep it in the API", text, n)
	}
	return text
}

// abort frees who waits for a dead FUSE server, if it may, and says what came of it, to be put behind the reason.
func (p *pursuit) abort(ctx context.Context, devices []string) string {
	if !p.Config.AbortStuckFUSE || p.Config.DryRun || len(devices) == 0 {
		return ""
	}
	said := ""
	for _, device := range devices {
		if err := p.Diagnoser.Abort(ctx, string(p.entry.PodUID), device); err != nil {
			said += fmt.Sprintf("; its FUSE connection was not aborted: %v", err)
			continue
		}
		said += fmt.Sprintf("; its FUSE connection %s was aborted, which frees who waits for it", device)
	}
	return said
}

// doubtful reports whether the removal was perhaps never done: it was read from the books, and the pod is not ending.
func (p *pursuit) doubtful() bool {
	return p.unsure && p.end == nil && p.presence == present && !p.removed.ending
}

// doubt gives back what was reserved by an agent that ended before it could act.
func (p *pursuit) doubt(ctx context.Context, now time.Time) {
	if !p.doubtful() || now.Before(p.entry.At.Add(lastCall)) {
		return
	}
	if p.ask(ctx) != nil {
		p.disconnect()
		return
	}
	if p.doubtful() {
		p.end = &finding{}
	}
}

// mustMarkUp reports whether the books do not say yet that a replacement is up.
func (p *pursuit) mustMarkUp(now time.Time) bool {
	if p.markedUp || p.end != nil || p.doubtful() {
		return false
	}
	_, h, _ := p.best(now)
	return h == proving
}

// markUp writes once that a replacement is up and proves itself: the owner's next pod need not wait for the end of that when others have
// proven the backend.
func (p *pursuit) markUp(ctx context.Context, now time.Time) {
	if !p.mustMarkUp(now) || now.Before(p.markAt) {
		return
	}
	if p.markedUp = p.Books.MarkUp(ctx, p.entry.PodUID) == nil; !p.markedUp {
		p.markAt = p.Now().Add(p.marking.Step())
	}
}

// note writes the end into the books, again and again until it is there, and then tells everybody.
func (p *pursuit) note(ctx context.Context, now time.Time) {
	if p.end == nil || p.noted || now.Before(p.noteAt) {
		return
	}
	if err := p.write(ctx); err != nil {
		if !p.refused && ctx.Err() == nil {
			p.refused = true
			p.log.Info("End of the removal cannot be noted yet", controllers.KeyAftermath, p.end.aftermath, controllers.KeyDetail, err.Error())
		}
		p.noteAt = p.Now().Add(p.noting.Step())
		return
	}
	p.noted = true
	p.announce(*p.end)
	p.late = p.late || p.mayHealLate() && p.enterLate()
}

func (p *pursuit) write(ctx context.Context) error {
	if p.end.aftermath == controllers.AftermathPending {
		return p.Books.Release(ctx, p.entry.PodUID, p.entry.At)
	}
	return p.Books.Close(ctx, p.entry, p.end.aftermath)
}

// narrowDown watches nothing but the removed pod where that stays for long and its successors are of no interest any more.
func (p *pursuit) narrowDown() {
	if p.noted && p.told && !p.narrow && !p.isLate(p.Now()) {
		p.narrow = true
		p.disconnect()
	}
}
