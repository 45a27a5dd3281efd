package metrics

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// maxMounts is how many mounts of one node get series of their own. A mount has at most 4 series.
const maxMounts = 2000

// Live is where the state at the time of a scrape is read from.
type Live struct {
	Statuses      func() []controllers.Status // every watched mount
	PodsWatched   func() int
	PodsInvalid   func() int                    // watched pods with invalid annotations
	LastScan      func() time.Time              // when a probe last ended; the zero time before the first
	Workers       func() int                    // probe workers alive
	ParkedProbes  func() int                    // probes without an answer whose worker waits for it
	Forsaken      func() int                    // workers that were killed beyond the parked ones and are still inside the kernel
	Stuck         func() int                    // pods that do not terminate
	EventSources  func() map[string]EventSource // by name
	Capabilities  map[string]bool               // what probes need, by name, and whether the agent has it
	Version       string
	KernelRelease string
}

// EventSource is a way in which the kernel may announce that a probe is due.
type EventSource struct {
	Available bool // this node has it
	Watched   int  // objects whose changes it announces now
}

// collector makes the metrics of live state.
type collector struct {
	live Live

	healthy, info, state, warning, held, openBackends, sources, announced, capabilities, pods,
	invalid, lastScan, workers, parked, forsaken, stuck, dropped, build *prometheus.Desc
}

// RegisterLive registers the metrics that are read from live state at each scrape.
func RegisterLive(r prometheus.Registerer, live Live) error {
	return r.Register(newCollector(live))
}

func newCollector(live Live) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(metricNamespace, "", name), help, labels, nil)
	}
	return &collector{
		live:         live,
		healthy:      desc("mount_healthy", "1 when the watched mount is healthy, 0 when it is suspect or failed; absent while it cannot be judged.", mountLabels()...),
		info:         desc("mount_info", "Always 1; what is mounted there.", append(mountLabels(), "fstype", "source_kind")...),
		state:        desc("mount_state", "Always 1; what is believed of the mount, and why it is not healthy.", append(mountLabels(), "state", "cause")...),
		warning:      desc("mount_warning", "1 for what is wrong around a watched mount that is healthy itself; absent when nothing is.", append(mountLabels(), "warning")...),
		openBackends: desc("backend_breaker_open", "Backends whose pods of this node are held since many of their mounts have failed: one is tried first.", "kind"),
		sources:      desc("event_source_available", "1 when the node has a source of events that announce a look, 0 when such changes are found at the next period.", "source"),
		announced:    desc("event_source_watched", "Mount tables, processes that serve a FUSE, or file systems of which the source announces the changes now.", "source"),
		capabilities: desc("capability_available", "1 when the agent has the Linux capability, 0 when it has not and the mounts that it takes cannot be judged.", "capability"),
		held:         desc("remediations_held", "Pods of this node that have a failed mount and stay, by reason.", "reason"),
		pods:         desc("pods_watched", "Pods of this node that are watched."),
		invalid:      desc("pods_invalid_policy", "Pods of this node whose annotations are not understood, and which are only told of."),
		lastScan:     desc("last_scan_timestamp_seconds", "When a look at a mount was last finished, in seconds since 1970."),
		workers:      desc("workers", "Worker processes that look at mounts."),
		parked:       desc("probes_parked", "Looks without an answer whose worker is parked until it comes."),
		forsaken:     desc("workers_forsaken", "Workers that were ended since no more looks may be parked, and that a mount still holds inside the kernel."),
		stuck:        desc("pods_stuck_terminating", "Pods of this node that ask to be watched and are still there more than a minute past their grace period, whoever has removed them."),
		dropped:      desc("mounts_dropped", "Watched mounts of this node that have no series of their own, since there are too many or their path is no UTF-8."),
		build:        desc("build_info", "Always 1; the version of the agent and the kernel it runs on.", "version", "kernel"),
	}
}

func mountLabels() []string { return []string{"namespace", "pod", "container", "volume", "mountpath"} }

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.healthy, c.info, c.state, c.warning, c.held, c.openBackends, c.sources, c.announced, c.capabilities, c.pods,
		c.invalid, c.lastScan, c.workers, c.parked, c.forsaken, c.stuck, c.dropped, c.build,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	statuses := c.live.Statuses()
	mounts := chooseShownMounts(statuses)
	for _, s := range mounts {
		c.collectMount(gauge, s)
	}
	for reason, n := range countHeldPods(statuses) {
		gauge(c.held, float64(n), string(reason))
	}
	for kind, n := range countOpenBackends(statuses) {
		gauge(c.openBackends, float64(n), string(kind))
	}
	for name, source := range c.live.EventSources() {
		gauge(c.sources, boolToFloat(source.Available), name)
		gauge(c.announced, float64(source.Watched), name)
	}
	for name, held := range c.live.Capabilities {
		gauge(c.capabilities, boolToFloat(held), name)
	}
	gauge(c.dropped, float64(len(statuses)-len(mounts)))
	gauge(c.pods, float64(c.live.PodsWatched()))
	gauge(c.invalid, float64(c.live.PodsInvalid()))
	gauge(c.workers, float64(c.live.Workers()))
	gauge(c.parked, float64(c.live.ParkedProbes()))
	gauge(c.forsaken, float64(c.live.Forsaken()))
	gauge(c.stuck, float64(c.live.Stuck()))
	gauge(c.build, 1, c.live.Version, c.live.KernelRelease)
	if t := c.live.LastScan(); !t.IsZero() {
		gauge(c.lastScan, float64(t.UnixMilli())/1000)
	}
}

// chooseShownMounts returns the mounts that get series of their own. They are the first by name, so
// that every scrape shows the same ones. It leaves out paths that are not UTF-8: the API server
// accepts such a mountPath, but Prometheus accepts no such label.
func chooseShownMounts(statuses []controllers.Status) []controllers.Status {
	valid := slices.DeleteFunc(slices.Clone(statuses), func(s controllers.Status) bool { return !utf8.ValidString(s.Target.Path) })
	slices.SortFunc(valid, func(a, b controllers.Status) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Pod, b.Pod),
			strings.Compare(a.Target.Container, b.Target.Container), strings.Compare(a.Target.Path, b.Target.Path),
			strings.Compare(a.Target.Volume, b.Target.Volume))
	})
	return valid[:min(len(valid), maxMounts)]
}

// collectMount collects the series of one mount.
func (c *collector) collectMount(gauge func(*prometheus.Desc, float64, ...string), s controllers.Status) {
	labels := []string{s.Namespace, s.Pod, s.Target.Container, s.Target.Volume, s.Target.Path}
	state, cause := s.Mount.Shown(), string(s.Mount.Observation.Cause)
	switch state {
	case probes.Unknown.String():
	case verdict.Healthy.String():
		gauge(c.healthy, 1, labels...)
	default:
		gauge(c.healthy, 0, labels...)
	}
	gauge(c.state, 1, append(labels, state, cause)...)
	if w := s.Mount.Observation.Warning; w != probes.WarningNone && s.Mount.Phase == verdict.Healthy {
		gauge(c.warning, 1, append(labels, string(w))...)
	}
	if o := s.Mount.Observation; o.FSType != "" {
		gauge(c.info, 1, append(labels, boundFSType(o.FSType), classifySource(o.FSType))...)
	}
}

// boolToFloat returns 1 for true and 0 for false.
func boolToFloat(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// countHeldPods counts pods, not mounts, by the reason they are held for.
func countHeldPods(statuses []controllers.Status) map[controllers.Held]int {
	type pod struct{ namespace, name string }
	seen, held := map[pod]bool{}, map[controllers.Held]int{}
	for _, s := range statuses {
		p := pod{s.Namespace, s.Pod}
		if s.Held != controllers.HeldNone && !seen[p] {
			seen[p] = true
			held[s.Held]++
		}
	}
	return held
}

// countOpenBackends counts the backends whose circuit breaker is open and holds pods of this node,
// by kind.
func countOpenBackends(statuses []controllers.Status) map[probes.BackendKind]int {
	seen, open := map[probes.Backend]bool{}, map[probes.BackendKind]int{}
	for _, s := range statuses {
		if s.Held == controllers.HeldBackendStorm && s.Mount.Phase == verdict.Failed && !seen[s.Backend] {
			seen[s.Backend] = true
			open[s.Backend.Kind]++
		}
	}
	return open
}
