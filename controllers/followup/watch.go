package followup

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/mountwarden/mountwarden/controllers"
)

// connectWatch opens the watch if there is none and it is time to.
func (t *tracker) connectWatch(ctx context.Context, now time.Time) {
	if t.watch != nil || now.Before(t.openAt) {
		return
	}
	err := t.openWatch(ctx)
	if err == nil && !t.ordered {
		err = t.readRemovedPod(ctx)
	}
	if err != nil {
		t.closeWatch()
	}
	if failed := err != nil; failed != t.disconnected && ctx.Err() == nil {
		t.disconnected = failed
		t.log.Info(connectionMessage(failed), controllers.KeyDetail, errorDetail(err))
	}
}

func connectionMessage(failed bool) string {
	if failed {
		return "Followed pods are out of sight"
	}
	return "Followed pods are in sight again"
}

func errorDetail(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// openWatch starts a watch. Its context lives as long as the watch does, so the wait for the first
// response has a timer of its own.
func (t *tracker) openWatch(ctx context.Context) error {
	ctx, cancelWatch := context.WithCancel(ctx)
	late := time.AfterFunc(callTimeout, cancelWatch)
	w, err := t.Client.CoreV1().Pods(t.entry.Namespace).Watch(ctx, t.buildWatchOptions())
	inTime := late.Stop()
	if err == nil && !inTime {
		w.Stop()
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancelWatch()
		return fmt.Errorf("watch the pods that may replace %s/%s: %w", t.entry.Namespace, t.entry.Pod, err)
	}
	t.watch, t.cancelWatch, t.openedAt, t.unjudgedSince = w, cancelWatch, t.Now(), t.Now()
	t.pods = map[types.UID]podSnapshot{}
	return nil
}

// buildWatchOptions selects all that has happened since the evicted pod was last read, where that
// is known. Without a resourceVersion the present state comes first.
func (t *tracker) buildWatchOptions() metav1.ListOptions {
	options := metav1.ListOptions{LabelSelector: t.entry.Selector, ResourceVersion: t.fromVersion}
	t.ordered = t.fromVersion != ""
	if t.removedOnly {
		options.LabelSelector, options.FieldSelector = "", fields.OneTermEqualSelector(metav1.ObjectNameField, t.entry.Pod).String()
	}
	t.fromVersion = "" // it may be too old the next time
	return options
}

// closeWatch ends the watch, if there is one, and sets when to open the next.
func (t *tracker) closeWatch() {
	now := t.Now()
	if t.watch != nil {
		t.watch.Stop()
		t.cancelWatch()
		t.watch = nil
		if now.Sub(t.openedAt) > t.openBackoff.Cap {
			t.openBackoff = newBackoff()
		}
	}
	t.openAt = now.Add(t.openBackoff.Step())
}

// readRemovedPod reads whether the evicted pod still exists: a watch does not show what happened
// before it.
func (t *tracker) readRemovedPod(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pod, err := t.Client.CoreV1().Pods(t.entry.Namespace).Get(ctx, t.entry.Pod, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && pod.UID != t.entry.PodUID:
		t.markGone()
	case err != nil:
		return fmt.Errorf("read pod %s/%s: %w", t.entry.Namespace, t.entry.Pod, err)
	default:
		t.observePod(pod, t.Now())
	}
	return nil
}

// readReplacement reads a replacement as it is now.
func (t *tracker) readReplacement(ctx context.Context, replacement *podSnapshot) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ref := replacement.ref
	pod, err := t.Client.CoreV1().Pods(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && pod.UID != ref.UID:
		t.discardPod(ref.UID)
	case err != nil:
		return fmt.Errorf("read pod %s/%s: %w", ref.Namespace, ref.Name, err)
	default:
		t.observePod(pod, t.Now())
	}
	return nil
}

// markGone notes that the evicted pod has left the API.
func (t *tracker) markGone() {
	if t.presence == present {
		took := t.Now().Sub(t.removedAt)
		t.Meter.Took(controllers.PhaseTerminate, took)
		t.log.Info("Removed pod is gone", controllers.KeyTook, formatDuration(took))
	}
	t.presence = gone
}

// handleEvent records one event. Anything but a change of a pod ends the watch.
func (t *tracker) handleEvent(ctx context.Context, e watch.Event, ok bool) {
	pod, isPod := e.Object.(*corev1.Pod)
	if !ok || !isPod {
		t.closeWatch()
		return
	}
	if t.unjudgedSince.IsZero() {
		t.unjudgedSince = t.Now()
	}
	if t.ordered {
		t.markSibling(pod.UID, e.Type == watch.Added)
	}
	switch {
	case e.Type != watch.Deleted:
		t.observePod(pod, t.Now())
	case pod.UID != t.entry.PodUID:
		t.discardPod(pod.UID)
	case hasEnded(pod):
		t.markGone()
	case t.readRemovedPod(ctx) != nil: // it is gone, or it has lost its labels
		t.closeWatch()
	}
}

// hasEnded reports whether a pod was at the end of its grace period when it left the watch: the
// kubelet has then deleted it from the API.
func hasEnded(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil && pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds == 0
}
