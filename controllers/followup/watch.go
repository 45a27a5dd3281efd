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

// connect opens the watch when there is none and it is time to.
func (p *pursuit) connect(ctx context.Context, now time.Time) {
	if p.watch != nil || now.Before(p.openAt) {
		return
	}
	err := p.open(ctx)
	if err == nil && !p.ordered {
		err = p.ask(ctx)
	}
	if err != nil {
		p.disconnect()
	}
	if failed := err != nil; failed != p.blind && ctx.Err() == nil {
		p.blind = failed
		p.log.Info(sightLine(failed), controllers.KeyDetail, detail(err))
	}
}

func sightLine(failed bool) string {
	if failed {
		return "Followed pods are out of sight"
	}
	return "Followed pods are in sight again"
}

func detail(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// open begins a watch. Its context lives as long as the watch does, so that the wait for its first answer has a clock of its own.
func (p *pursuit) open(ctx context.Context) error {
	ctx, hangUp := context.WithCancel(ctx)
	late := time.AfterFunc(callTimeout, hangUp)
	w, err := p.Client.CoreV1().Pods(p.entry.Namespace).Watch(ctx, p.selection())
	inTime := late.Stop()
	if err == nil && !inTime {
		w.Stop()
		err = context.DeadlineExceeded
	}
	if err != nil {
		hangUp()
		return fmt.Errorf("watch the pods that may replace %s/%s: %w", p.entry.Namespace, p.entry.Pod, err)
	}
	p.watch, p.hangUp, p.opened, p.news = w, hangUp, p.Now(), p.Now()
	p.pods = map[types.UID]sight{}
	return nil
}

// selection is of all that has happened since the removed pod was last read, where that is known. Without a resourceVersion the state
// of now comes first.
func (p *pursuit) selection() metav1.ListOptions {
	options := metav1.ListOptions{LabelSelector: p.entry.Selector, ResourceVersion: p.from}
	p.ordered = p.from != ""
	if p.narrow {
		options.LabelSelector, options.FieldSelector = "", fields.OneTermEqualSelector(metav1.ObjectNameField, p.entry.Pod).String()
	}
	p.from = "" // it may be too old the next time
	return options
}

// disconnect ends the watch, if there is one, and says when to open the next.
func (p *pursuit) disconnect() {
	now := p.Now()
	if p.watch != nil {
		p.watch.Stop()
		p.hangUp()
		p.watch = nil
		if now.Sub(p.opened) > p.opening.Cap {
			p.opening = patience()
		}
	}
	p.openAt = now.Add(p.opening.Step())
}

// ask reads whether the removed pod is still there: no watch tells that of the time before it.
func (p *pursuit) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pod, err := p.Client.CoreV1().Pods(p.entry.Namespace).Get(ctx, p.entry.Pod, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && pod.UID != p.entry.PodUID:
		p.gone()
	case err != nil:
		return fmt.Errorf("read pod %s/%s: %w", p.entry.Namespace, p.entry.Pod, err)
	default:
		p.see(pod, p.Now())
	}
	return nil
}

// askFor reads a successor as it is now.
func (p *pursuit) askFor(ctx context.Context, successor *sight) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ref := successor.ref
	pod, err := p.Client.CoreV1().Pods(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && pod.UID != ref.UID:
		p.lose(ref.UID)
	case err != nil:
		return fmt.Errorf("read pod %s/%s: %w", ref.Namespace, ref.Name, err)
	default:
		p.see(pod, p.Now())
	}
	return nil
}

func (p *pursuit) gone() {
	if p.presence == present {
		took := p.Now().Sub(p.removedAt)
		p.Meter.Took(controllers.PhaseTerminate, took)
		p.log.Info("Removed pod is gone", controllers.KeyTook, span(took))
	}
	p.presence = gone
}

// take takes one event in. What is not a change of a pod ends the watch.
func (p *pursuit) take(ctx context.Context, e watch.Event, ok bool) {
	pod, isPod := e.Object.(*corev1.Pod)
	if !ok || !isPod {
		p.disconnect()
		return
	}
	if p.news.IsZero() {
		p.news = p.Now()
	}
	if p.ordered {
		p.meet(pod.UID, e.Type == watch.Added)
	}
	switch {
	case e.Type != watch.Deleted:
		p.see(pod, p.Now())
	case pod.UID != p.entry.PodUID:
		p.lose(pod.UID)
	case hasEnded(pod):
		p.gone()
	case p.ask(ctx) != nil: // it is gone, or it has lost its labels
		p.disconnect()
	}
}

// hasEnded reports whether a pod was at the end of its grace when it left the watch: the kubelet has then taken it out of the API.
func hasEnded(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil && pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds == 0
}
