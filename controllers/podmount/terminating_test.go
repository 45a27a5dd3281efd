package podmount_test

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
)

// The API's deletionTimestamp has the grace period in it.
func TestPodsStuckTerminating(t *testing.T) {
	for name, tc := range map[string]struct {
		watch string
		late  time.Duration
		runs  bool // it is not to end at all
		want  int
	}{
		"it runs":                 {"true", 0, true, 0},
		"in its grace period":     {"true", -10 * time.Second, false, 0},
		"a minute past it":        {"true", time.Minute, false, 0},
		"longer":                  {"true", time.Minute + time.Second, false, 1},
		"for a day":               {"volume:data", 24 * time.Hour, false, 1},
		"it is none of ours":      {"", time.Hour, false, 0},
		"it is not to be watched": {"false", time.Hour, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, pod := newFakeNode(), newPod("app", map[string]string{config.AnnotationWatch: tc.watch})
			if tc.watch == "" {
				delete(pod.Annotations, config.AnnotationWatch)
			}
			if end := metav1.NewTime(w.now.Add(-tc.late)); !tc.runs {
				pod.DeletionTimestamp = &end
			}
			w.putObject(pod)
			w.putObject(newPod("other", nil))
			r := w.newReconciler(t) // has seen nothing of before
			if got := r.PodsStuckTerminating(); got != tc.want {
				t.Errorf("%d pods, want %d", got, tc.want)
			}
		})
	}
}

func TestAStuckPodOfAnotherNamespace(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	long := metav1.NewTime(w.now.Add(-time.Hour))
	pod.DeletionTimestamp = &long
	w.putObject(pod)
	r := w.newReconciler(t, func(c *config.Config) { c.Limits.NamespaceSelector = "a=b" })
	for label, want := range map[string]int{"b": 1, "c": 0} {
		w.putObject(newNamespace(map[string]string{"a": label}))
		if got := r.PodsStuckTerminating(); got != want {
			t.Errorf("%d pods in a namespace with the label a=%s, want %d", got, label, want)
		}
	}
}

func TestNothingIsStuckWhileTheCacheIsNotRead(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	long := metav1.NewTime(w.now.Add(-time.Hour))
	pod.DeletionTimestamp = &long
	w.putObject(pod)
	w.broken["*v1.PodList"] = errors.New("not filled yet")
	if got := w.newReconciler(t).PodsStuckTerminating(); got != 0 {
		t.Errorf("%d pods", got)
	}
	delete(w.broken, "*v1.PodList")
	if got := w.newReconciler(t).PodsStuckTerminating(); got != 1 {
		t.Errorf("%d pods, want 1", got)
	}
}
