package world

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// task is one pod or one owner to see to.
type task struct {
	pod   types.UID
	owner types.NamespacedName
}

// work sees to one task after the other, until the queue is shut down.
func (w *World) work(ctx context.Context) {
	for {
		t, shut := w.queue.Get()
		if shut {
			return
		}
		err := w.do(ctx, t)
		w.queue.Done(t)
		if err != nil && ctx.Err() == nil {
			w.queue.AddAfter(t, 500*time.Millisecond) // a busy API server
		}
	}
}

func (w *World) do(ctx context.Context, t task) error {
	if t.pod != "" {
		return w.serve(ctx, t.pod)
	}
	return w.keep(ctx, t.owner)
}

// serve is what the kubelet does for one pod: start it when its volume can be mounted, end it when that was asked for.
func (w *World) serve(ctx context.Context, uid types.UID) error {
	p, start, end := w.next(uid)
	switch {
	case start:
		return w.start(ctx, p)
	case end:
		return w.finish(ctx, p)
	default:
		return nil
	}
}

// next says what is to be done for a pod now. One that starts has its mounts from then on.
func (w *World) next(uid types.UID) (p pod, start, end bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.pods[uid]
	if !ok {
		return pod{}, false, false
	}
	if wait := time.Until(known.due); wait > 0 {
		w.queue.AddAfter(task{pod: uid}, wait)
		return pod{}, false, false
	}
	start = !known.ending && !known.mounted && w.up(known.backend, known.node)
	if start {
		known.mounted, known.since = true, time.Now()
	}
	return *known, start, known.ending
}

func (w *World) start(ctx context.Context, p pod) error {
	now := metav1.NewTime(w.clock(p.node))
	status := corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &now,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
		},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "app", ContainerID: "containerd://" + string(p.uid), Ready: true, Image: "app", ImageID: "app",
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		}},
	}
	err := w.patch(ctx, p, map[string]any{"metadata": map[string]any{"uid": p.uid}, "status": status}, "status")
	if err != nil {
		w.unmount(p.uid)
		return fmt.Errorf("start pod %s: %w", p.key, err)
	}
	return nil
}

// clock is the node's, by which the kubelet writes times.
func (w *World) clock(node string) time.Time {
	if w.Skew == nil {
		return time.Now()
	}
	return time.Now().Add(w.Skew(node))
}

// unmount takes a start back that could not be told.
func (w *World) unmount(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.pods[uid]; ok {
		p.mounted = false
	}
}

func (w *World) finish(ctx context.Context, p pod) error {
	now := int64(0)
	err := w.Client.CoreV1().Pods(p.key.Namespace).Delete(ctx, p.key.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(p.uid)),
	})
	return ended(err)
}

// ended takes the end of a pod for no error.
func ended(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// patch changes the very pod; one that is gone is no error.
func (w *World) patch(ctx context.Context, p pod, change any, subresources ...string) error {
	text, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = w.Client.CoreV1().Pods(p.key.Namespace).Patch(ctx, p.key.Name, types.StrategicMergePatchType, text, metav1.PatchOptions{}, subresources...)
	return ended(err)
}
