package agents

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/condition"
	"github.com/mountwarden/mountwarden/controllers/followup"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/controllers/remediate"
	"github.com/mountwarden/mountwarden/probes"
)

// workers is how many pods one agent sees to at a time.
const workers = 4

// agent is the agent of one node, through all its crashes.
type agent struct {
	fleet *Fleet
	node  string
	cache *cache

	mu  sync.Mutex
	now *incarnation // nil while there is none
}

// run runs one incarnation after the other until ctx ends.
func (a *agent) run(ctx context.Context) error {
	for ctx.Err() == nil {
		i, err := a.begin(ctx)
		if err != nil {
			return fmt.Errorf("start the agent of node %s: %w", a.node, err)
		}
		i.run()
		select {
		case <-ctx.Done():
		case <-time.After(a.fleet.Restart):
		}
	}
	return nil
}

// announce tells the agent what the kernel would. An agent that does not run hears nothing.
func (a *agent) announce(pod types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now != nil {
		a.now.announce(pod)
	}
}

// incarnation is an agent from its start to its crash.
type incarnation struct {
	agent      *agent
	ctx        context.Context //nolint:containedctx // its end is the agent's
	cancel     context.CancelFunc
	config     config.Config
	now        func() time.Time
	clock      *ledger.Clock
	node       *node
	client     kubernetes.Interface
	recorder   *recorder
	reconciler *podmount.Reconciler
	follower   *followup.Follower
	queue      workqueue.TypedRateLimitingInterface[ctrl.Request]
	called     context.Context //nolint:containedctx // has ended: nobody waits for the controller that is played here
}

func (a *agent) begin(ctx context.Context) (*incarnation, error) {
	i := &incarnation{agent: a, config: a.fleet.Config, now: time.Now}
	i.config.NodeName = a.node
	i.ctx, i.cancel = context.WithCancel(ctrl.LoggerInto(ctx, a.fleet.Log.WithValues("node", a.node)))
	called, cancel := context.WithCancel(ctx)
	cancel()
	i.called = called
	if a.fleet.Skew != nil {
		skew := a.fleet.Skew(a.node)
		i.now = func() time.Time { return time.Now().Add(skew) }
	}
	i.clock = ledger.NewClock(i.now)
	i.node = &node{a.fleet.World, a.node, i.now}
	i.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[ctrl.Request]())
	if err := i.connect(); err != nil {
		return nil, err
	}
	err := i.wire()
	return i, err
}

// connect makes the client, whose requests pass the lifeline.
func (i *incarnation) connect() (err error) {
	line := &lifeline{die: func(where string) {
		i.agent.fleet.crashed(where)
		i.cancel()
	}}
	if i.agent.fleet.Crash != nil {
		line.crash = i.agent.fleet.Crash()
	}
	connection := i.agent.fleet.Connect(i.agent.node)
	connection.ContentType, connection.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	connection.QPS, connection.Burst = float32(i.config.KubeAPI.QPS), i.config.KubeAPI.Burst
	connection.Wrap(i.clock.Wrap)
	connection.Wrap(func(next http.RoundTripper) http.RoundTripper {
		line.next = next
		return line
	})
	shared, err := rest.HTTPClientFor(connection)
	if err != nil {
		return err
	}
	i.client, err = kubernetes.NewForConfigAndClient(connection, shared)
	return err
}

// wire puts the parts together as the agent's program does.
func (i *incarnation) wire() (err error) {
	i.recorder = newRecorder(i.client.EventsV1(), i.config.NodeName, i.now, i.agent.fleet.Log)
	store := ledger.NewStore(i.client, i.config, i.clock.Now)
	i.follower = followup.New(followup.Options{
		Client: i.client, Ledger: store, Diagnoser: i.node, Meter: meter{}, Recorder: i.recorder, Config: i.config, Now: i.clock.Now,
		Log: i.agent.fleet.Log.WithValues("node", i.agent.node),
	})
	gates := remediate.New(remediate.Options{
		Client: i.client, Cached: i.agent.cache, Node: i.node, Ledger: store, Follower: i.follower, Config: i.config, Now: i.now, ClusterTime: i.clock.At,
	})
	i.reconciler, err = podmount.New(podmount.Options{
		Client: i.agent.cache, Prober: i.node, Remediator: gates, Meter: meter{}, Recorder: i.recorder, Config: i.config, Now: i.now,
		Conditions: condition.New(i.client.CoreV1()),
		Spread:     podmount.SpreadEvenly,
	})
	return err
}

// run runs until the incarnation's context ends, and until all that it started has ended.
func (i *incarnation) run() {
	var running sync.WaitGroup
	running.Go(func() { i.recorder.run(i.ctx) })
	running.Go(func() { _ = i.follower.Start(i.ctx) }) // it only ends with the agent
	for range workers {
		running.Go(i.work)
	}
	i.agent.cache.catchUp(true)
	i.agent.cache.subscribe(func(key types.NamespacedName) { i.queue.Add(ctrl.Request{NamespacedName: key}) })
	i.agent.incarnate(i)
	<-i.ctx.Done()
	i.agent.incarnate(nil)
	i.agent.cache.subscribe(func(types.NamespacedName) {})
	i.queue.ShutDown()
	running.Wait()
}

func (a *agent) incarnate(i *incarnation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = i
}

// work does what a controller does with a Reconciler.
func (i *incarnation) work() {
	for {
		key, shut := i.queue.Get()
		if shut {
			return
		}
		result, err := i.reconciler.Reconcile(i.ctx, key)
		switch {
		case err != nil:
			i.queue.AddRateLimited(key)
		case result.RequeueAfter > 0:
			i.queue.Forget(key)
			i.queue.AddAfter(key, result.RequeueAfter)
		default:
			i.queue.Forget(key)
		}
		i.queue.Done(key)
	}
}

func (i *incarnation) announce(pod types.UID) {
	i.reconciler.Announce(i.called, string(pod), probes.TriggerFUSEDaemon)
	if key, ok := i.agent.cache.keyOf(pod); ok {
		i.queue.Add(ctrl.Request{NamespacedName: key})
	}
}
