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

// outage remembers since when no call to the API server has succeeded.
type outage struct {
	mu    sync.Mutex
	since time.Time
}

const (
	shortestWait = time.Second
	longestWait  = 30 * time.Second
)

// wait returns how long to wait after a call that failed now: half as long as the outage has lasted, so that each wait is half as
// long again as the one before.
func (o *outage) wait(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = now
	}
	return spread(min(max(now.Sub(o.since)/2, shortestWait), longestWait))
}

func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = time.Time{}
}

// failed is for an API server that is away or answers with an error. Nothing is lost: it is asked again.
func (r *Remediator) failed(what string, err error) *controllers.Result {
	message := fmt.Sprintf("could not %s: %v", what, err)
	if errors.Is(err, context.DeadlineExceeded) {
		message = fmt.Sprintf("could not %s: no answer within %s", what, callTimeout)
	}
	return &controllers.Result{Outcome: controllers.OutcomeFailed, Held: controllers.HeldAPIError, Message: message, RetryAfter: r.outage.wait(r.Now())}
}

// spread adds up to half, so that agents that were refused together do not come back together.
func spread(d time.Duration) time.Duration {
	return d + rand.N(d/2+1)
}
