package agents

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/test/storm/internal/world"
)

// cache is what a watch has told one node's agent: stripped as the agent's own cache would, and as late as is asked for.
type cache struct {
	node string

	mu     sync.Mutex
	pods   map[types.NamespacedName]*corev1.Pod
	behind []world.Event // what was not told yet
	until  time.Time     // until when nothing is told
	notify func(types.NamespacedName)
}

func newCache(node string) *cache {
	return &cache{node: node, pods: map[types.NamespacedName]*corev1.Pod{}, notify: func(types.NamespacedName) {}}
}

// tell passes one change on, or keeps it as long as the watch lags.
func (c *cache) tell(e world.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until) || len(c.behind) > 0 {
		c.behind = append(c.behind, e)
		return
	}
	c.apply(e)
}

func (c *cache) apply(e world.Event) {
	key := client.ObjectKeyFromObject(e.Pod)
	held, known := c.pods[key]
	switch {
	case e.Gone && known && held.UID == e.Pod.UID:
		delete(c.pods, key)
	case !e.Gone:
		if stripped, err := podmount.Strip(e.Pod); err == nil {
			c.pods[key], _ = stripped.(*corev1.Pod) // Strip makes a pod of a pod
		}
	}
	c.notify(key)
}

// lag has the watch tell nothing for a while.
func (c *cache) lag(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Now().Add(d)
}

// catchUp tells what was kept, once the watch lags no more or whoever starts lists anew.
func (c *cache) catchUp(anew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !anew && time.Now().Before(c.until) {
		return
	}
	for _, e := range c.behind {
		c.apply(e)
	}
	c.behind = nil
}

// subscribe has f called with every pod that is there, and then with every pod that changes.
func (c *cache) subscribe(f func(types.NamespacedName)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notify = f
	for key := range c.pods {
		f(key)
	}
}

// keyOf returns the name of the pod with that UID.
func (c *cache) keyOf(uid types.UID) (types.NamespacedName, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, p := range c.pods {
		if p.UID == uid {
			return key, true
		}
	}
	return types.NamespacedName{}, false
}

// Get implements client.Reader: pods of the node, and Nodes and Namespaces without any annotation.
func (c *cache) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	switch object := object.(type) {
	case *metav1.PartialObjectMetadata:
		object.Name = key.Name
		return nil
	case *corev1.Pod:
		c.mu.Lock()
		defer c.mu.Unlock()
		p, ok := c.pods[key]
		if !ok {
			return apierrors.NewNotFound(corev1.Resource("pods"), key.Name)
		}
		p.DeepCopyInto(object)
		return nil
	default:
		return fmt.Errorf("the cache holds no %T", object)
	}
}

// List implements client.Reader.
func (c *cache) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	pods, ok := list.(*corev1.PodList)
	if !ok {
		return fmt.Errorf("the cache holds no %T", list)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		pods.Items = append(pods.Items, *p.DeepCopy())
	}
	return nil
}
