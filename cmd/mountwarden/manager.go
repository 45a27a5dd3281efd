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

// stallThreshold is how late a probe may be before the agent reports that it has stalled. Each
// probe and each call to the API server has a deadline of seconds, so a healthy loop is never this
// late.
const stallThreshold = 2 * time.Minute

// newManager connects the components: prober -> reconciler -> remediator, with metrics and health
// beside them.
func newManager(ctx context.Context, restConfig *rest.Config, kube kubernetes.Interface, clock *ledger.Clock, prober nodeProber, cfg config.Config) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register core types: %w", err)
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                 scheme,
		Cache:                  newCacheOptions(cfg),
		Metrics:                metricsserver.Options{BindAddress: config.AddressOff}, // see addServer
		HealthProbeBindAddress: config.AddressOff,
	})
	if err != nil {
		return nil, fmt.Errorf("make the manager: %w", err)
	}
	// Readiness waits for these informers from the start, because they are requested now.
	for _, watched := range []client.Object{&corev1.Pod{}, newPartialMetadata("Node"), newPartialMetadata("Namespace")} {
		if _, err := mgr.GetCache().GetInformer(ctx, watched, cache.BlockUntilSynced(false)); err != nil {
			return nil, fmt.Errorf("watch the node's pods, the node and namespaces: %w", err)
		}
	}
	meter, ledgerStore := metrics.New(ctrlmetrics.Registry), ledger.NewStore(kube, cfg, clock.Now)
	recorder := mgr.GetEventRecorder("mountwarden")
	follower := followup.New(followup.Options{
		Client: kube, Ledger: ledgerStore, Diagnoser: stuck.New(cfg.ProcRoot), Meter: meter, Recorder: recorder, Config: cfg, Now: clock.Now, Log: mgr.GetLogger(),
	})
	reconciler, err := podmount.New(podmount.Options{
		Client: mgr.GetClient(),
		Prober: prober,
		Remediator: remediate.New(remediate.Options{
			Client: kube, Cached: mgr.GetClient(), Node: prober, Ledger: ledgerStore, Follower: follower, Config: cfg, Now: time.Now, ClusterTime: clock.At,
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
	forwarder := manager.RunnableFunc(func(ctx context.Context) error { return forwardEvents(ctx, prober, reconciler) })
	return mgr, errors.Join(reconciler.SetupWithManager(mgr), mgr.Add(forwarder), mgr.Add(follower), registerLiveMetrics(reconciler, prober),
		addMetricsServer(ctx, mgr, kube, cfg), addHealthServer(ctx, mgr, reconciler, prober, cfg), addStatusServer(ctx, mgr, reconciler, follower, prober, cfg))
}

// forwardEvents hands the prober's events to the reconciler, which probes the pods that they name,
// until ctx ends.
func forwardEvents(ctx context.Context, prober nodeProber, reconciler *podmount.Reconciler) error {
	for {
		select {
		case e := <-prober.Events():
			reconciler.Announce(ctx, e.Pod, e.Trigger)
		case <-ctx.Done():
			return nil
		}
	}
}

// newCacheOptions keeps only this node's pods, stripped. A read of anything else fails instead of
// opening a watch on the whole cluster.
func newCacheOptions(cfg config.Config) cache.Options {
	return cache.Options{
		DefaultTransform:            podmount.Strip,
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:              {Field: fields.OneTermEqualSelector("spec.nodeName", cfg.NodeName)},
			newPartialMetadata("Node"): {Field: fields.OneTermEqualSelector("metadata.name", cfg.NodeName)},
		},
	}
}

// newPartialMetadata stands for the metadata of a kind of the core group.
func newPartialMetadata(kind string) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return o
}

func registerLiveMetrics(r *podmount.Reconciler, prober nodeProber) error {
	err := metrics.RegisterLive(ctrlmetrics.Registry, metrics.Live{
		Statuses:      r.Statuses,
		PodsWatched:   r.PodsWatched,
		PodsInvalid:   r.PodsInvalid,
		Stuck:         r.PodsStuckTerminating,
		LastScan:      r.LastScan,
		Workers:       func() int { return prober.Stats().Workers },
		ParkedProbes:  func() int { return prober.Stats().Parked },
		Forsaken:      func() int { return prober.Stats().Forsaken },
		EventSources:  func() map[string]metrics.EventSource { return mapEventSources(prober.EventSources()) },
		Capabilities:  mapCapabilities(prober.capabilities),
		Version:       versionText(),
		KernelRelease: readKernelRelease(),
	})
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// mapEventSources returns the event sources as the metrics show them, by name.
func mapEventSources(sources []events.Source) map[string]metrics.EventSource {
	all := map[string]metrics.EventSource{}
	for _, s := range sources {
		all[s.Name] = metrics.EventSource{Available: s.Available, Watched: s.Watched}
	}
	return all
}

// mapCapabilities returns whether the agent has each capability, by name.
func mapCapabilities(capabilities []node.Capability) map[string]bool {
	all := map[string]bool{}
	for _, c := range capabilities {
		all[c.Name] = c.Held
	}
	return all
}

// addHealthServer ties liveness to the probe loop, because a restart may help it. It ties readiness
// to the free slots for probes. A restart does not help there: it would only park the same workers
// again.
func addHealthServer(ctx context.Context, mgr ctrl.Manager, r *podmount.Reconciler, prober nodeProber, cfg config.Config) error {
	loop := func(*http.Request) error {
		if late := r.Overdue(); late > stallThreshold {
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
	return addServer(ctx, mgr, newHealthEndpoint(cfg, map[string]healthz.Checker{"loop": loop}, map[string]healthz.Checker{"probes": room}))
}

// readKernelRelease returns the kernel's release as proc(5) gives it, or "unknown".
func readKernelRelease() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(release))
}
