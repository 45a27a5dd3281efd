package agents

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/test/storm/internal/world"
)

func event(uid types.UID, gone bool) world.Event {
	return world.Event{Gone: gone, Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p", UID: uid}}}
}

// holds checks which pod the cache holds under the name; "" for none.
func holds(t *testing.T, c *cache, want types.UID) {
	t.Helper()
	p := &corev1.Pod{}
	err := c.Get(t.Context(), client.ObjectKey{Namespace: "a", Name: "p"}, p)
	if p.UID != want || apierrors.IsNotFound(err) != (want == "") {
		t.Errorf("holds %q, %v, want %q", p.UID, err, want)
	}
}

func TestCache(t *testing.T) {
	c := newCache("node")
	told := 0
	c.subscribe(func(types.NamespacedName) { told++ })
	holds(t, c, "")
	c.tell(event("one", false))
	holds(t, c, "one")
	c.tell(event("two", false)) // the deletion of a former pod must not hit its successor
	c.tell(event("one", true))
	holds(t, c, "two")
	c.tell(event("two", true))
	holds(t, c, "")
	if told != 4 {
		t.Errorf("told %d times", told)
	}
}

// A cache that lags holds what was, and then gets everything in its order.
func TestLag(t *testing.T) {
	for name, anew := range map[string]bool{"its time is over": false, "an agent lists anew": true} {
		t.Run(name, func(t *testing.T) {
			c := newCache("node")
			c.tell(event("one", false))
			c.lag(time.Hour)
			c.tell(event("one", true))
			c.tell(event("two", false))
			holds(t, c, "one")
			c.catchUp(false)
			holds(t, c, "one")
			if !anew {
				c.lag(-time.Second)
				c.tell(event("two", false)) // not before what came first
				holds(t, c, "one")
			}
			c.catchUp(anew)
			holds(t, c, "two")
		})
	}
}
