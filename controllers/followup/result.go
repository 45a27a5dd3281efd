package followup

import (
	"context"
	"fmt"
	"time"

	"github.com/mountwarden/mountwarden/controllers"
)

// diagnosisTimeout bounds the inspection of the node's processes and mounts.
const diagnosisTimeout = 20 * time.Second

// isTerminating reports whether the evicted pod is still there and terminating.
func (t *tracker) isTerminating() bool { return t.presence == present && t.removedPod.terminating }

// checkTermination reports once why the evicted pod does not end.
func (t *tracker) checkTermination(ctx context.Context, now time.Time) {
	if t.stuckReported || !t.isTerminating() || now.Before(t.stuckAt) {
		return
	}
	t.stuckReported = true
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	why := t.Diagnoser.Why(ctx, string(t.entry.PodUID))
	t.stuckReason = t.addFinalizers(why.Text) + t.abortFUSE(ctx, why.FUSE)
	t.reportStuckTerminating(now, t.stuckReason)
}

// addFinalizers completes what the node says by what only the API knows.
func (t *tracker) addFinalizers(text string) string {
	if n := t.removedPod.finalizers; n > 0 {
		return fmt.Sprintf("%s; %d finalizers keep it in the API", text, n)
	}
	return text
}

// abortFUSE frees the processes that wait for a dead FUSE server, if it may. It returns what came
// of it, as an addition to the reason.
func (t *tracker) abortFUSE(ctx context.Context, devices []string) string {
	if !t.Config.AbortStuckFUSE || t.Config.DryRun || len(devices) == 0 {
		return ""
	}
	said := ""
	for _, device := range devices {
		if err := t.Diagnoser.Abort(ctx, string(t.entry.PodUID), device); err != nil {
			said += fmt.Sprintf("; its FUSE connection was not aborted: %v", err)
			continue
		}
		said += fmt.Sprintf("; its FUSE connection %s was aborted, which frees who waits for it", device)
	}
	return said
}

// isDoubtful reports whether the eviction was perhaps never done: its entry was read from the
// ledger, and the pod is not terminating.
func (t *tracker) isDoubtful() bool {
	return t.unconfirmed && t.result == nil && t.presence == present && !t.removedPod.terminating
}

// releaseDoubtful gives back what was reserved by an agent that ended before it could evict the
// pod.
func (t *tracker) releaseDoubtful(ctx context.Context, now time.Time) {
	if !t.isDoubtful() || now.Before(t.entry.At.Add(actDeadline)) {
		return
	}
	if t.readRemovedPod(ctx) != nil {
		t.closeWatch()
		return
	}
	if t.isDoubtful() {
		t.result = &followUpResult{}
	}
}

// mustMarkUp reports whether the ledger does not say yet that a replacement is up.
func (t *tracker) mustMarkUp(now time.Time) bool {
	if t.markedUp || t.result != nil || t.isDoubtful() {
		return false
	}
	_, h, _ := t.bestReplacement(now)
	return h == proving
}

// markReplacementUp writes once that a replacement is up and has to prove itself. The owner's next
// pod need not wait for the end of that when other pods have proven the backend.
func (t *tracker) markReplacementUp(ctx context.Context, now time.Time) {
	if !t.mustMarkUp(now) || now.Before(t.markAt) {
		return
	}
	if t.markedUp = t.Ledger.MarkUp(ctx, t.entry.PodUID) == nil; !t.markedUp {
		t.markAt = t.Now().Add(t.markBackoff.Step())
	}
}

// closeRemoval writes the result into the ledger, tries until it is there, and then reports it.
func (t *tracker) closeRemoval(ctx context.Context, now time.Time) {
	if t.result == nil || t.written || now.Before(t.writeAt) {
		return
	}
	if err := t.writeResult(ctx); err != nil {
		if !t.writeFailed && ctx.Err() == nil {
			t.writeFailed = true
			t.log.Info("End of the removal cannot be noted yet", controllers.KeyAftermath, t.result.aftermath, controllers.KeyDetail, err.Error())
		}
		t.writeAt = t.Now().Add(t.writeBackoff.Step())
		return
	}
	t.written = true
	t.reportResult(*t.result)
	t.late = t.late || t.mayHealLate() && t.reserveLate()
}

// writeResult closes the entry of the ledger, or releases one that was never used.
func (t *tracker) writeResult(ctx context.Context) error {
	if t.result.aftermath == controllers.AftermathPending {
		return t.Ledger.Release(ctx, t.entry.PodUID, t.entry.At)
	}
	return t.Ledger.Close(ctx, t.entry, t.result.aftermath)
}

// narrowWatch watches the evicted pod alone where that stays for long and its replacements no
// longer matter.
func (t *tracker) narrowWatch() {
	if t.written && t.stuckReported && !t.removedOnly && !t.isLate(t.Now()) {
		t.removedOnly = true
		t.closeWatch()
	}
}
