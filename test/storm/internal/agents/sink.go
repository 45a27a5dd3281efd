package agents

import (
	"context"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	eventsclient "k8s.io/client-go/kubernetes/typed/events/v1"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

func scheme() *runtime.Scheme { return clientscheme.Scheme }

// sink writes events. Once the agent has crashed, it gives the recorder an answer after which nothing is tried again.
type sink struct {
	ctx    context.Context //nolint:containedctx // the recorder hands none that ends with the agent
	client eventsclient.EventsV1Interface
}

func (s *sink) answer(e *eventsv1.Event, err error) (*eventsv1.Event, error) {
	if err != nil && s.ctx.Err() != nil {
		return nil, apierrors.NewBadRequest(errDead.Error())
	}
	return e, err
}

// Create implements events.EventSink.
func (s *sink) Create(_ context.Context, e *eventsv1.Event) (*eventsv1.Event, error) {
	return s.answer(s.client.Events(e.Namespace).Create(s.ctx, e, metav1.CreateOptions{}))
}

// Update implements events.EventSink.
func (s *sink) Update(_ context.Context, e *eventsv1.Event) (*eventsv1.Event, error) {
	return s.answer(s.client.Events(e.Namespace).Update(s.ctx, e, metav1.UpdateOptions{}))
}

// Patch implements events.EventSink.
func (s *sink) Patch(_ context.Context, e *eventsv1.Event, data []byte) (*eventsv1.Event, error) {
	return s.answer(s.client.Events(e.Namespace).Patch(s.ctx, e.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}))
}

// meter counts nothing: the observer does.
type meter struct{}

// Observed implements podmount.Meter.
func (meter) Observed(probes.Observation) {}

// Detected implements podmount.Meter.
func (meter) Detected(verdict.Failure, probes.Trigger) {}

// Remediated implements podmount.Meter.
func (meter) Remediated(probes.Cause, controllers.Result) {}

// Ended implements followup.Meter.
func (meter) Ended(controllers.Aftermath) {}

// Took implements followup.Meter.
func (meter) Took(controllers.Phase, time.Duration) {}
