package world

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/mountwarden/mountwarden/probes"
)

// made returns a world with an owner of one pod, which is not made yet, and a function that makes such pods.
func made(kind string) (*World, func(uid types.UID) *corev1.Pod) {
	w := New(Options{Client: fake.NewClientset(), Name: "w", Nodes: 1, Namespaces: 1, Workers: 1, Start: time.Hour, Grace: time.Hour})
	w.Add(Owner{Namespace: "w-0", Name: "app", Kind: kind, Replicas: 1, Backend: "b.csi.example"})
	return w, func(uid types.UID) *corev1.Pod {
		p := w.object(w.owners[types.NamespacedName{Namespace: "w-0", Name: "app"}], "app-0")
		p.UID = uid
		return p
	}
}

// A StatefulSet's next pod has the name of the last: where the watch was away meanwhile, the one has become the other.
func TestReplacedWhileTheWatchWasAway(t *testing.T) {
	w, pod := made(StatefulSet)
	old := pod("1")
	w.tell(old, false)
	w.change(old, pod("2"))
	if w.pods["1"] != nil || w.pods["2"] == nil {
		t.Errorf("known are %v", w.pods)
	}
	if n := w.Unsettled(); n != 1 { // the second one does not run yet
		t.Errorf("%d unsettled", n)
	}
}

// On a busy API server a pod may be gone before its maker is told that it was made.
func TestGoneBeforeItsMakingIsAnswered(t *testing.T) {
	w, pod := made(ReplicaSet)
	w.tell(pod("1"), false)
	w.tell(cache.DeletedFinalStateUnknown{Obj: pod("1")}, true)
	w.know(pod("1"))
	if len(w.pods) != 0 {
		t.Errorf("known are %v", w.pods)
	}
	if err := w.keep(context.Background(), types.NamespacedName{Namespace: "w-0", Name: "app"}); err != nil || len(w.pods) != 1 {
		t.Errorf("another is made: %v, %v", w.pods, err)
	}
}

// What was mended may break again as soon as its annotation says that it is well, and not before.
func TestMendedBreaksAgain(t *testing.T) {
	w, pod := made(ReplicaSet)
	p, err := w.Client.CoreV1().Pods("w-0").Create(t.Context(), pod("1"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.tell(p, false)
	w.pods["1"].mounted = true
	well := func() int { return len(w.Pods(0, func(string, string) bool { return true })) }
	if err := w.Break(t.Context(), probes.CauseStale, "1"); err != nil || well() != 0 {
		t.Errorf("broken: %v, %d well", err, well())
	}
	w.Mend("1")
	if well() != 0 {
		t.Errorf("mended, and its annotation still says broken: %d well", well())
	}
	if err := w.Strike(t.Context(), "1"); err != nil || well() != 1 {
		t.Errorf("struck: %v, %d well", err, well())
	}
}
