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
	shortestWait = time.Second
	longestWait  = 30 * time.Second
	forgotten    = 2 * time.Minute // more than the longest wait: nothing has failed in between
)

// wait returns how long to wait after a call that failed now: half as long as the outage has lasted, so that each wait is half as
// long again as the one before.
func (o *outage) wait(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() || now.Sub(o.last) > forgotten {
		o.since = now
	}
	o.last = now
	return spread(min(max(now.Sub(o.since)/2, shortestWait), longestWait))
}

func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = time.Time{}
}

// failed is for an API server that is away or answers with an error. Nothing is lost: it is asked again.
func (r *Remediator) failed(what string, err error) *controllers.Result {
	return failure(what, err, r.outage.wait(r.Now()))
}

// refused is failed for the removal itself.
func (r *Remediator) refused(what string, err error) controllers.Result {
	return *failure(what, err, r.refusals.wait(r.Now()))
}

func failure(what string, err error, wait time.Duration) *controllers.Result {
	message := fmt.Sprintf("could not %s: %v", what, err)
	if errors.Is(err, context.DeadlineExceeded) {
		message = fmt.Sprintf("could not %s: no answer within %s", what, callTimeout)
	}
	return &controllers.Result{Outcome: controllers.OutcomeFailed, Held: controllers.HeldAPIError, Message: message, RetryAfter: wait}
}

// spread adds up to half, so that agents that were refused together do not come back together.
func spread(d time.Duration) time.Duration {
	return d + rand.N(d/2+1)
}
