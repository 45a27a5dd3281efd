package observer

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Inspect is a patrol's round at a time of the test's choice.
func (o *Observer) Inspect(now time.Time) { o.inspect(now) }

// Told reports whether an event has said why the pod stays.
func (o *Observer) Told(uid types.UID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	p, ok := o.pods[uid]
	return ok && !p.told.IsZero()
}
