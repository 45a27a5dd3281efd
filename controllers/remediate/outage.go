package remediate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/controllers"
)

// outage remembers since when calls of one kind have failed.
type outage struct {
	mu          sync.Mutex
	since, last time.Time
}

const (
	minRetryDelay = time.Second
	maxRetryDelay = 30 * time.Second
	outageReset   = 2 * time.Minute // longer than maxRetryDelay, so that no call has failed in between
)

// extendOutage notes a call that failed now, and returns how long to wait: half as long as the
// outage has lasted, so that each delay is half as long again as the one before.
func (o *outage) extendOutage(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() || now.Sub(o.last) > outageReset {
		o.since = now
	}
	o.last = now
	return spreadDelay(min(max(now.Sub(o.since)/2, minRetryDelay), maxRetryDelay))
}

// endOutage notes a call that succeeded.
func (o *outage) endOutage() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = time.Time{}
}

// newReadFailure is the Result for an API server that is away or answers with an error. Nothing is
// lost: the Request is made again.
func (r *Remediator) newReadFailure(what string, err error) *controllers.Result {
	return newFailedResult(what, err, r.readOutage.extendOutage(r.Now()))
}

// newRemovalFailure is newReadFailure for the eviction itself.
func (r *Remediator) newRemovalFailure(what string, err error) controllers.Result {
	return *newFailedResult(what, err, r.removalOutage.extendOutage(r.Now()))
}

func newFailedResult(what string, err error, wait time.Duration) *controllers.Result {
	message := fmt.Sprintf("could not %s: %v", what, err)
	if errors.Is(err, context.DeadlineExceeded) {
		message = fmt.Sprintf("could not %s: no answer within %s", what, callTimeout)
	}
	return &controllers.Result{Outcome: controllers.OutcomeFailed, Held: controllers.HeldAPIError, Message: message, RetryAfter: wait}
}

// spreadDelay adds up to half, so that agents that were refused together do not come back together.
func spreadDelay(d time.Duration) time.Duration {
	return d + rand.N(d/2+1)
}
