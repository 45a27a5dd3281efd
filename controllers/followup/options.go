package followup

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/probes"
)

// Ledger is where the result of an eviction is written, so that all agents know it and an agent
// that starts again can continue. ledger.Store implements it.
type Ledger interface {
	// MarkUp notes that a replacement is up and has to prove itself. It may be called again.
	MarkUp(ctx context.Context, pod types.UID) error
	// Close notes the end of an eviction. It may be called again, and once more after a late
	// success.
	Close(ctx context.Context, e ledger.Entry, a controllers.Aftermath) error
	// Release takes back an eviction that was reserved at that time and never done.
	Release(ctx context.Context, pod types.UID, at time.Time) error
	// Pending returns the evictions of this node whose end was not noted yet.
	Pending(ctx context.Context) ([]ledger.Entry, error)
}

// Diagnoser says why a pod of this node does not end.
type Diagnoser interface {
	// Why inspects the pod's processes and mounts, and returns text only.
	Why(ctx context.Context, podUID string) probes.Stuck
	// Abort ends a FUSE connection that only this pod uses, by its device: processes that wait for
	// it get an error. It refuses any other.
	Abort(ctx context.Context, podUID, device string) error
}

// Meter counts what is followed.
type Meter interface {
	Ended(a controllers.Aftermath)
	Took(phase controllers.Phase, d time.Duration)
}

// Options are the parts that a Follower is made of. All are required.
type Options struct {
	Client    kubernetes.Interface // must not read from a cache
	Ledger    Ledger
	Diagnoser Diagnoser
	Meter     Meter
	Recorder  events.EventRecorder
	Config    config.Config
	Now       func() time.Time // by the API server's clock, as the times of entries and pods are
	Log       logr.Logger
}
