package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/util/validation"
)

// day is the longest time that any setting may ask for, in seconds.
const day = 24 * 60 * 60

// maxRemovals is the largest budget of a window: all its removals stand in one Lease, which the API server limits.
const maxRemovals = 600

// number is a setting that must lie within two bounds, both allowed.
type number struct {
	key        string // in its section
	annotation string // "" when pods cannot set it
	value      *int
	low, high  int
}

// numbers lists the numbers of a policy. The same bounds hold for the defaults and for annotations.
func (d *Defaults) numbers(l Limits) []number {
	return []number{
		{"periodSeconds", AnnotationPeriodSeconds, &d.PeriodSeconds, l.MinPeriodSeconds, day},
		{"timeoutSeconds", AnnotationTimeoutSeconds, &d.TimeoutSeconds, 1, 300},
		{"failureThreshold", AnnotationFailureThreshold, &d.FailureThreshold, 1, 1000},
		{"initialDelaySeconds", AnnotationInitialDelaySeconds, &d.InitialDelaySeconds, 0, day},
		{"hangSeconds", AnnotationHangSeconds, &d.HangSeconds, 1, day},
		{"settleSeconds", AnnotationSettleSeconds, &d.SettleSeconds, 0, day},
	}
}

func (c *Config) numbers() []number {
	return []number{
		{key: "logLevel", value: &c.LogLevel, low: 0, high: 9},
		{key: "maxWorkers", value: &c.MaxWorkers, low: 1, high: 256},
		{key: "maxParkedWorkers", value: &c.MaxParkedWorkers, low: 1, high: 4096},
		{key: "kubeAPI.qps", value: &c.KubeAPI.QPS, low: 1, high: 1000},
		{key: "kubeAPI.burst", value: &c.KubeAPI.Burst, low: 1, high: 1000},
		{key: "blockedSeconds", value: &c.BlockedSeconds, low: 0, high: day},
		{key: "followUpSeconds", value: &c.FollowUpSeconds, low: 10, high: 60 * 60},
		{key: "budgets.windowSeconds", value: &c.Budgets.WindowSeconds, low: 1, high: 60 * 60},
		{key: "budgets.node", value: &c.Budgets.Node, low: 1, high: maxRemovals},
		{key: "budgets.namespace", value: &c.Budgets.Namespace, low: 1, high: maxRemovals},
		{key: "budgets.cluster", value: &c.Budgets.Cluster, low: 1, high: maxRemovals},
		{key: "storm.threshold", value: &c.Storm.Threshold, low: 1, high: maxRemovals},
		{key: "storm.cooldownSeconds", value: &c.Storm.CooldownSeconds, low: 1, high: 60 * 60},
		{key: "backoff.initialSeconds", value: &c.Backoff.InitialSeconds, low: 1, high: day},
		{key: "backoff.maxSeconds", value: &c.Backoff.MaxSeconds, low: 1, high: day},
		{key: "backoff.forgetSeconds", value: &c.Backoff.ForgetSeconds, low: 1, high: day},
		{key: "backoff.maxAttempts", value: &c.Backoff.MaxAttempts, low: 1, high: 1000},
		{key: "limits.minPeriodSeconds", value: &c.Limits.MinPeriodSeconds, low: 1, high: day},
	}
}

// Validate returns every problem of the configuration, joined. Each is ErrInvalid and names the key, the
// value and what is allowed.
func (c Config) Validate() error {
	problems := []error{
		nodeName(c.NodeName),
		namespace(c.Namespace),
		address("metricsBindAddress", c.MetricsBindAddress),
		c.certDir(),
		address("healthProbeBindAddress", c.HealthProbeBindAddress),
		loopback("statusBindAddress", c.StatusBindAddress),
		among("logFormat", c.LogFormat, []string{LogFormatJSON, LogFormatText}),
		absolute("procRoot", c.ProcRoot),
		absolute("workerPath", c.WorkerPath),
		absolute("backendPath", c.BackendPath),
		c.Budgets.validate(),
		c.Backoff.validate(),
		c.Limits.validate(),
		c.Defaults.validate(c.Limits),
	}
	for _, n := range c.numbers() {
		problems = append(problems, n.validate(n.key))
	}
	return errors.Join(problems...)
}

// validate rejects a part that is larger than the whole: it would never be what keeps a pod from being removed.
func (b Budgets) validate() error {
	return errors.Join(b.part("budgets.node", b.Node), b.part("budgets.namespace", b.Namespace))
}

func (b Budgets) part(key string, value int) error {
	if value > b.Cluster {
		return invalid(key, value, fmt.Sprintf("no more than budgets.cluster, %d: lower %s or raise budgets.cluster", b.Cluster, key))
	}
	return nil
}

// validate rejects a longest delay that is shorter than the first.
func (b Backoff) validate() error {
	if b.MaxSeconds < b.InitialSeconds {
		return invalid("backoff.maxSeconds", b.MaxSeconds, fmt.Sprintf("no less than backoff.initialSeconds, %d", b.InitialSeconds))
	}
	return nil
}

func (d Defaults) validate(l Limits) error {
	problems := []error{
		among("defaults.mode", d.Mode, modes()),
		among("defaults.action", d.Action, l.AllowedActions),
		d.hang("defaults.hangSeconds"),
	}
	for _, n := range d.numbers(l) {
		problems = append(problems, n.validate("defaults."+n.key))
	}
	return errors.Join(problems...)
}

// hang rejects a mount that would have failed before its first answer is overdue.
func (d Defaults) hang(key string) error {
	if d.HangSeconds < d.TimeoutSeconds {
		return invalid(key, d.HangSeconds, "no less than the timeout, "+strconv.Itoa(d.TimeoutSeconds))
	}
	return nil
}

func (l Limits) validate() error {
	_, err := l.Selector()
	problems := []error{err}
	if len(l.AllowedActions) == 0 {
		problems = append(problems, outOf("limits.allowedActions", "", bothActions()))
	}
	for _, action := range l.AllowedActions {
		problems = append(problems, among("limits.allowedActions", action, bothActions()))
	}
	return errors.Join(problems...)
}

func (n number) validate(key string) error {
	if *n.value < n.low || *n.value > n.high {
		return outside(key, *n.value, n.low, n.high)
	}
	return nil
}

func modes() []Mode         { return []Mode{ModeRemediate, ModeReport} }
func bothActions() []Action { return []Action{ActionEvict, ActionDelete} }

func among[T ~string](key string, value T, allowed []T) error {
	if !slices.Contains(allowed, value) {
		return outOf(key, value, allowed)
	}
	return nil
}

func absolute(key, path string) error {
	if !filepath.IsAbs(path) {
		return invalid(key, path, "an absolute path")
	}
	return nil
}

// certDir accepts a folder only where its certificate is shown: metrics that are thought to be encrypted must be.
func (c Config) certDir() error {
	switch {
	case c.MetricsCertDir == "":
		return nil
	case !c.MetricsSecure:
		return invalid("metricsCertDir", c.MetricsCertDir, "none unless metricsSecure is true")
	}
	return absolute("metricsCertDir", c.MetricsCertDir)
}

func nodeName(name string) error {
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return invalid("nodeName", name, "the name of a node; set NODE_NAME from the downward API's spec.nodeName")
	}
	return nil
}

func namespace(name string) error {
	if len(validation.IsDNS1123Label(name)) > 0 {
		return invalid("namespace", name, "the name of a namespace; set POD_NAMESPACE from the downward API's metadata.namespace")
	}
	return nil
}

// address accepts HOST:PORT, where HOST may be empty, and "0", which turns the listener off.
func address(key, value string) error {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil && value != AddressOff {
		return invalid(key, value, "HOST:PORT, :PORT or 0")
	}
	return nil
}

// AddressOff is the value of an address that turns its listener off.
const AddressOff = "0"

// StatusAddress returns where the agent shows its status, IP:PORT, and "" when it does not. The error is ErrInvalid.
func (c Config) StatusAddress() (string, error) {
	if c.StatusBindAddress == AddressOff {
		return "", nil
	}
	return c.StatusBindAddress, loopback("statusBindAddress", c.StatusBindAddress)
}

// loopback accepts the address of this host alone, and "0", which turns the listener off. What listens there asks nobody who
// they are. A name is refused: what it stands for may change.
func loopback(key, value string) error {
	at, err := netip.ParseAddrPort(value)
	if value != AddressOff && (err != nil || !at.Addr().IsLoopback() || at.Port() == 0) {
		return invalid(key, value, "a loopback IP and a port, such as 127.0.0.1:8082 or [::1]:8082, or 0: it is shown without a login, "+
			"so that only this pod and kubectl port-forward may reach it")
	}
	return nil
}
