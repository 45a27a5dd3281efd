package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/condition"
	"github.com/mountwarden/mountwarden/controllers/followup"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/controllers/metrics"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/controllers/remediate"
	"github.com/mountwarden/mountwarden/probes/events"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/probes/stuck"
)

// stallAfter is how late a look may be before the agent calls itself stalled. Each look and each call to the API
// server has a deadline of seconds, so that a healthy loop is never this late.
const stallAfter = 2 * time.Minute

// newManager wires the parts: prober -> reconciler -> remediator, with metrics and health beside them.
func newManager(ctx context.Context, restConfig *rest.Config, kube kubernetes.Interface, clock *ledger.Clock, prober host, cfg config.Config) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register core types: %w", err)
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                 scheme,
		Cache:                  cacheOptions(cfg),
		Metrics:                metricsserver.Options{BindAddress: config.AddressOff}, // see addServer
		HealthProbeBindAddress: config.AddressOff,
	})
	if err != nil {
		return nil, fmt.Errorf("make the manager: %w", err)
	}
	// Asked for now, they are among what readiness waits for from the first moment on.
	for _, watched := range []client.Object{&corev1.Pod{}, metadata("Node"), metadata("Namespace")} {
		if _, err := mgr.GetCache().GetInformer(ctx, watched, cache.BlockUntilSynced(false)); err != nil {
			return nil, fmt.Errorf("watch the node's pods, the node and namespaces: %w", err)
		}
	}
	meter, books := metrics.New(ctrlmetrics.Registry), ledger.NewStore(kube, cfg, clock.Now)
	recorder := mgr.GetEventRecorder("mountwarden")
	follower := followup.New(followup.Options{
		Client: kube, Books: books, Diagnoser: stuck.New(cfg.ProcRoot), Meter: meter, Recorder: recorder, Config: cfg, Now: clock.Now, Log: mgr.GetLogger(),
	})
	reconciler, err := podmount.New(podmount.Options{
		Client: mgr.GetClient(),
		Prober: prober,
		Remediator: remediate.New(remediate.Options{
			Client: kube, Cached: mgr.GetClient(), Node: prober, Ledger: books, Follower: follower, Config: cfg, Now: time.Now, ClusterTime: clock.At,
		}),
		Meter:      meter,
		Recorder:   recorder,
		Conditions: condition.New(kube.CoreV1()),
		Config:     cfg,
		Now:        time.Now,
		Spread:     podmount.SpreadEvenly,
	})
	if err != nil {
		return nil, err
	}
	announcer := manager.RunnableFunc(func(ctx context.Context) error { return announce(ctx, prober, reconciler) })
	return mgr, errors.Join(reconciler.SetupWithManager(mgr), mgr.Add(announcer), mgr.Add(follower), registerLive(reconciler, prober),
		addMetrics(ctx, mgr, kube, cfg), addHealth(ctx, mgr, reconciler, prober, cfg), addStatus(ctx, mgr, reconciler, follower, prober, cfg))
}

// announce has the pods looked at that the prober's events name, until ctx ends.
func announce(ctx context.Context, prober host, reconciler *podmount.Reconciler) error {
	for {
		select {
		case e := <-prober.Events():
			reconciler.Announce(ctx, e.Pod, e.Trigger)
		case <-ctx.Done():
			return nil
		}
	}
}

// cacheOptions keeps this node's pods only, stripped, and has a read of anything else fail instead of opening a
// watch on the whole cluster.
func cacheOptions(cfg config.Config) cache.Options {
	return cache.Options{
		DefaultTransform:            podmount.Strip,
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:    {Field: fields.OneTermEqualSelector("spec.nodeName", cfg.NodeName)},
			metadata("Node"): {Field: fields.OneTermEqualSelector("metadata.name", cfg.NodeName)},
		},
	}
}

// metadata stands for the metadata of a kind of the core group.
func metadata(kind string) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return o
}

func registerLive(r *podmount.Reconciler, prober host) error {
	err := metrics.RegisterLive(ctrlmetrics.Registry, metrics.Live{
		Statuses:      r.Statuses,
		PodsWatched:   r.PodsWatched,
		PodsInvalid:   r.PodsInvalid,
		Stuck:         r.PodsStuckTerminating,
		LastScan:      r.LastScan,
		Workers:       func() int { return prober.Stats().Workers },
		ParkedProbes:  func() int { return prober.Stats().Parked },
		Forsaken:      func() int { return prober.Stats().Forsaken },
		EventSources:  func() map[string]metrics.EventSource { return metered(prober.EventSources()) },
		Capabilities:  held(prober.capabilities),
		Version:       versionText(),
		KernelRelease: kernelRelease(),
	})
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

func metered(sources []events.Source) map[string]metrics.EventSource {
	all := map[string]metrics.EventSource{}
	for _, s := range sources {
		all[s.Name] = metrics.EventSource{Available: s.Available, Watched: s.Watched}
	}
	return all
}

func held(capabilities []node.Capability) map[string]bool {
	all := map[string]bool{}
	for _, c := range capabilities {
		all[c.Name] = c.Held
	}
	return all
}

// addHealth ties liveness to the loop, which a restart may help, and readiness to the room for looks, which it does
// not: the parked workers of a restarted agent would only be parked again.
func addHealth(ctx context.Context, mgr ctrl.Manager, r *podmount.Reconciler, prober host, cfg config.Config) error {
	loop := func(*http.Request) error {
		if late := r.Overdue(); late > stallAfter {
			return fmt.Errorf("a look is %s late: the probe loop has stalled", late.Round(time.Second))
		}
		return nil
	}
	room := func(req *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(req.Context()) {
			return errors.New("the pod cache is not filled yet")
		}
		if parked := prober.Stats().Parked; parked >= cfg.MaxParkedWorkers {
			return fmt.Errorf("%d looks have no answer, as many as maxParkedWorkers allows: other mounts may not be looked at", parked)
		}
		return nil
	}
	return addServer(ctx, mgr, healthEndpoint(cfg, map[string]healthz.Checker{"loop": loop}, map[string]healthz.Checker{"probes": room}))
}

// kernelRelease returns the kernel's release as proc(5) gives it, or "unknown".
func kernelRelease() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(release))
}
