package ledger

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// row is how often pods of an owner were removed in a row. Its zero value is an owner that nothing is known of.
type row struct {
	attempts int
	first    time.Time // when the row began
	last     time.Time // when the latest pod of it was removed
	pod      types.UID // that pod
}

// refuse holds the successor of a removed pod back, the longer the more have failed, and at last for good.
func (r row) refuse(a Ask, b config.Backoff, now time.Time) *Refusal {
	if r.pod == a.PodUID || !r.goesOn(a, b) {
		return nil
	}
	if r.attempts >= b.MaxAttempts {
		return &Refusal{controllers.HeldGaveUp, fmt.Sprintf("%d pods of %s were removed in a row and their successors failed as well: find out why, then delete the Lease %s; "+
			"a pod of it that stays healthy for %s begins anew, too", r.attempts, a.Owner, leaseName(a.Namespace, a.Owner), time.Duration(b.ForgetSeconds)*time.Second), time.Minute}
	}
	if wait := a.Since.Add(r.delay(b)).Sub(now); wait > 0 {
		return &Refusal{controllers.HeldBackoff, fmt.Sprintf("%d pods of %s were removed in a row; this one waits %s", r.attempts, a.Owner, r.delay(b)), wait}
	}
	return nil
}

// goesOn reports whether the pod is a successor within the row whose mounts were healthy for too short a time to end it. When it
// was made is known to the second only.
func (r row) goesOn(a Ask, b config.Backoff) bool {
	return r.attempts > 0 && a.Created.Add(clockSlack).After(r.first) && !healthyLong(a, b)
}

func healthyLong(a Ask, b config.Backoff) bool {
	return a.Since.Sub(a.Created) >= time.Duration(b.ForgetSeconds)*time.Second
}

func (r row) delay(b config.Backoff) time.Duration {
	wait, longest := time.Duration(b.InitialSeconds)*time.Second, time.Duration(b.MaxSeconds)*time.Second
	for range r.attempts - 1 {
		if wait *= 2; wait >= longest {
			break
		}
	}
	return min(wait, longest)
}

// next is the row with one more removal. The removal of a pod that was counted already, and of one that is older than the row,
// leave it as long as it is.
func (r row) next(a Ask, b config.Backoff, now time.Time) row {
	forget := time.Duration(b.ForgetSeconds) * time.Second
	switch {
	case r.pod == a.PodUID:
	case r.goesOn(a, b):
		r.attempts++
	case r.attempts == 0 || now.Sub(r.last) > forget:
		r.attempts, r.first = 1, now
	}
	r.last, r.pod = now, a.PodUID
	return r
}
