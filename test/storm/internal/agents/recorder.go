package agents

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	eventsclient "k8s.io/client-go/kubernetes/typed/events/v1"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// maxQueued is how many events may wait, as with client-go's recorder. What comes then is lost.
const maxQueued = 1000

// recorder writes events as client-go's does, in the background and one after the other. That one waits for ever for its own end when
// it is asked to stop in the middle of its work, as a crash does.
type recorder struct {
	client eventsclient.EventsV1Interface
	node   string
	now    func() time.Time
	queue  chan *eventsv1.Event
}

func newRecorder(client eventsclient.EventsV1Interface, node string, now func() time.Time) *recorder {
	return &recorder{client, node, now, make(chan *eventsv1.Event, maxQueued)}
}

// Eventf implements events.EventRecorder.
func (r *recorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	about, ok := regarding.(*corev1.ObjectReference)
	if !ok {
		return // the agents hand over references
	}
	e := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: cmp.Or(about.Namespace, metav1.NamespaceDefault), GenerateName: cut(about.Name) + "."}, EventTime: metav1.NewMicroTime(r.now()),
		ReportingController: "mountwarden", ReportingInstance: r.node, Regarding: *about, Type: eventType, Reason: reason, Action: action,
		Note: fmt.Sprintf(note, args...),
	}
	if other, ok := related.(*corev1.ObjectReference); ok {
		e.Related = other
	}
	select {
	case r.queue <- e:
	default:
	}
}

// cut leaves room for what makes a name unique.
func cut(name string) string { return name[:min(len(name), 200)] }

// run writes what is queued until ctx ends. What the API server does not take is lost, as it is when an agent ends.
func (r *recorder) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.queue:
			_, _ = r.client.Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{})
		}
	}
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
