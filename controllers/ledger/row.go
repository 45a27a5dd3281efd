package ledger

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// row is how often pods of an owner were removed in a row, one after the other and each made after the one before was removed: those that
// were there together, the owner's replicas, are one. Its zero value is an owner that nothing is known of.
type row struct {
	attempts int
	first    time.Time // when the row began
	counted  time.Time // when the latest of them was counted
	last     time.Time // when the latest pod of it was removed
	pod      types.UID // that pod
}

// refuse holds the successor of a removed pod back, the longer the more have failed, and at last for good.
func (r row) refuse(a Ask, b config.Backoff, now time.Time) *Refusal {
	if r.pod == a.PodUID || !r.goesOn(a, b) {
		return nil
	}
	before := r.before(a)
	if before >= b.MaxAttempts {
		return &Refusal{controllers.HeldGaveUp, fmt.Sprintf("%d pods of %s were removed in a row and their successors failed as well: find out why, then delete the Lease %s; "+
			"a pod of it that fails after %s of health begins anew, too", before, a.Owner, leaseName(a.Entry), time.Duration(b.ForgetSeconds)*time.Second), time.Minute}
	}
	if wait := a.Since.Add(delay(before, b)).Sub(now); wait > 0 {
		return &Refusal{controllers.HeldBackoff, fmt.Sprintf("%d pods of %s were removed in a row; this one waits %s", before, a.Owner, delay(before, b)), wait}
	}
	return nil
}

// goesOn reports whether the pod is a successor within the row whose mounts were healthy for too short a time to end it. When it
// was made is known to the second only.
func (r row) goesOn(a Ask, b config.Backoff) bool {
	return r.attempts > 0 && a.madeAfter(r.first) && !healthyLong(a, b)
}

// before is how many were removed in a row before the pod, which goes on with the row. The replicas beside it that went first are not among them.
func (r row) before(a Ask) int {
	if a.madeAfter(r.counted) {
		return r.attempts
	}
	return r.attempts - 1
}

func (a Ask) madeAfter(t time.Time) bool { return a.Created.Add(clockSlack).After(t) }

func healthyLong(a Ask, b config.Backoff) bool {
	return a.Healthy >= time.Duration(b.ForgetSeconds)*time.Second
}

// delay is how long a pod waits that so many went before, at least one.
func delay(before int, b config.Backoff) time.Duration {
	wait, longest := time.Duration(b.InitialSeconds)*time.Second, time.Duration(b.MaxSeconds)*time.Second
	for range before - 1 {
		if wait *= 2; wait >= longest {
			break
		}
	}
	return min(wait, longest)
}

// next is the row with one more removal. That of a successor whose mounts were healthy for long begins anew: removals have helped. The removal
// of a pod that was counted already, of one that was there when the latest was counted, and of one that is older than the row, leave it
// as long as it is.
func (r row) next(a Ask, b config.Backoff, now time.Time) row {
	forget := time.Duration(b.ForgetSeconds) * time.Second
	switch {
	case r.pod == a.PodUID:
	case r.goesOn(a, b):
		if a.madeAfter(r.counted) {
			r.attempts, r.counted = r.attempts+1, now
		}
	case r.attempts == 0 || now.Sub(r.last) > forget || a.madeAfter(r.first):
		r.attempts, r.first, r.counted = 1, now, now
	}
	r.last, r.pod = now, a.PodUID
	return r
}
