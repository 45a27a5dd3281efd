package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

const metricNamespace = "mountwarden"

// Metrics counts what happens. It satisfies podmount.Meter and followup.Meter.
type Metrics struct {
	probes             *prometheus.CounterVec
	probeSeconds       *prometheus.HistogramVec
	detections         *prometheus.CounterVec
	detectionSeconds   *prometheus.HistogramVec
	remediations       *prometheus.CounterVec
	holds              *prometheus.CounterVec
	aftermaths         *prometheus.CounterVec
	remediationSeconds *prometheus.HistogramVec
}

// New returns Metrics whose instruments are registered with r. It panics, as MustRegister does,
// when they are registered already.
func New(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricNamespace, Name: "probes_total",
			Help: "Looks at mounts, by file system type and by what they found."}, []string{"fstype", "result"}),
		probeSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: metricNamespace, Name: "probe_duration_seconds",
			Help:    "Time from a look's question to its answer, or until it was given up.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10), NativeHistogramBucketFactor: 1.1}, []string{"fstype"}),
		detections: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricNamespace, Name: "detections_total",
			Help: "Mounts that were confirmed as failed, by cause and by what made the look due."}, []string{"cause", "trigger"}),
		detectionSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: metricNamespace, Name: "detection_duration_seconds",
			Help:    "Time from the first broken look at a mount to its confirmation as failed.",
			Buckets: []float64{.02, .1, .5, 1, 2, 3, 5, 10, 20, 40, 60, 120, 300}, NativeHistogramBucketFactor: 1.1}, []string{"cause"}),
		remediations: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricNamespace, Name: "remediations_total",
			Help: "Remediations by action, cause and outcome. One that stays held or blocked for the same reason counts once."},
			[]string{"action", "cause", "outcome"}),
		holds: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricNamespace, Name: "remediation_holds_total",
			Help: "Remediations that were not done, by reason. One that stays held for the same reason counts once."}, []string{"reason"}),
		aftermaths: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricNamespace, Name: "remediation_aftermaths_total",
			Help: "Removals of this node's pods that are over, by what came of them."}, []string{"aftermath"}),
		remediationSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: metricNamespace, Name: "remediation_duration_seconds",
			Help: "Time that the parts of a remediation took: Act from the first broken look to the removal, Terminate from there until the pod was gone, " +
				"Heal from the removal until a successor was healthy, and Total from the first broken look until then.",
			Buckets: []float64{.1, .5, 1, 2, 5, 10, 20, 40, 60, 90, 120, 180, 300, 600, 1800}, NativeHistogramBucketFactor: 1.1}, []string{"phase"}),
	}
	r.MustRegister(m.probes, m.probeSeconds, m.detections, m.detectionSeconds, m.remediations, m.holds, m.aftermaths, m.remediationSeconds)
	// A series that begins with 1 has never increased for Prometheus, so no alert would see the
	// first.
	for _, a := range controllers.Aftermaths() {
		m.aftermaths.WithLabelValues(string(a))
	}
	for _, h := range controllers.Holds() {
		m.holds.WithLabelValues(string(h))
	}
	return m
}

// Observed counts one probe.
func (m *Metrics) Observed(o probes.Observation) {
	result := o.Health.String()
	if o.Health == probes.Broken {
		result = string(o.Cause)
	}
	fsType := boundFSType(o.FSType)
	m.probes.WithLabelValues(fsType, result).Inc()
	if o.Operation != probes.OpNone {
		m.probeSeconds.WithLabelValues(fsType).Observe(o.Finished.Sub(o.Started).Seconds())
	}
}

// Detected counts one mount that a probe confirmed as failed. The trigger made that probe due.
func (m *Metrics) Detected(f verdict.Failure, trigger probes.Trigger) {
	cause := string(f.Observation.Cause)
	m.detections.WithLabelValues(cause, string(trigger)).Inc()
	m.detectionSeconds.WithLabelValues(cause).Observe(f.Confirmed.Sub(f.Since).Seconds())
}

// Remediated counts one outcome of a remediation, and why it was held.
func (m *Metrics) Remediated(cause probes.Cause, r controllers.Result) {
	m.remediations.WithLabelValues(string(r.Action), string(cause), string(r.Outcome)).Inc()
	if r.Held != controllers.HeldNone {
		m.holds.WithLabelValues(string(r.Held)).Inc()
	}
}

// Ended counts one eviction whose follow-up has ended.
func (m *Metrics) Ended(a controllers.Aftermath) {
	m.aftermaths.WithLabelValues(string(a)).Inc()
}

// Took records how long a stage of a remediation took.
func (m *Metrics) Took(phase controllers.Phase, d time.Duration) {
	m.remediationSeconds.WithLabelValues(string(phase)).Observe(max(d, 0).Seconds()) // clocks may differ
}
