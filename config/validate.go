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

// maxRemovals is the largest budget of a window. One Lease holds all its evictions, and the API
// server limits the size of an object.
const maxRemovals = 600

// boundedInt is a setting that must lie within two bounds, both allowed.
type boundedInt struct {
	key        string // in its section
	annotation string // "" when pods cannot set it
	value      *int
	low, high  int
}

// listNumbers lists the numbers of a policy. The same bounds hold for the defaults and for
// annotations.
func (d *Defaults) listNumbers(l Limits) []boundedInt {
	return []boundedInt{
		{"periodSeconds", AnnotationPeriodSeconds, &d.PeriodSeconds, l.MinPeriodSeconds, day},
		{"timeoutSeconds", AnnotationTimeoutSeconds, &d.TimeoutSeconds, 1, 300},
		{"failureThreshold", AnnotationFailureThreshold, &d.FailureThreshold, 1, 1000},
		{"initialDelaySeconds", AnnotationInitialDelaySeconds, &d.InitialDelaySeconds, 0, day},
		{"hangSeconds", AnnotationHangSeconds, &d.HangSeconds, 1, day},
		{"settleSeconds", AnnotationSettleSeconds, &d.SettleSeconds, 0, day},
	}
}

func (c *Config) listNumbers() []boundedInt {
	return []boundedInt{
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

// Validate returns every problem of the configuration, joined. Each is ErrInvalid and names the
// key, the value and what is allowed.
func (c Config) Validate() error {
	problems := []error{
		checkNodeName(c.NodeName),
		checkNamespace(c.Namespace),
		checkAddress("metricsBindAddress", c.MetricsBindAddress),
		c.checkCertDir(),
		checkAddress("healthProbeBindAddress", c.HealthProbeBindAddress),
		checkLoopback("statusBindAddress", c.StatusBindAddress),
		checkChoice("logFormat", c.LogFormat, []string{LogFormatJSON, LogFormatText}),
		checkAbsolutePath("procRoot", c.ProcRoot),
		checkAbsolutePath("workerPath", c.WorkerPath),
		checkAbsolutePath("backendPath", c.BackendPath),
		c.Budgets.validate(),
		c.Backoff.validate(),
		c.Limits.validate(),
		c.Defaults.validate(c.Limits),
	}
	for _, n := range c.listNumbers() {
		problems = append(problems, n.checkBounds(n.key))
	}
	return errors.Join(problems...)
}

// validate rejects a part that is larger than the whole, because it would never hold back an
// eviction.
func (b Budgets) validate() error {
	return errors.Join(b.checkPart("budgets.node", b.Node), b.checkPart("budgets.namespace", b.Namespace))
}

func (b Budgets) checkPart(key string, value int) error {
	if value > b.Cluster {
		return rejectValue(key, value, fmt.Sprintf("no more than budgets.cluster, %d: lower %s or raise budgets.cluster", b.Cluster, key))
	}
	return nil
}

// validate rejects a longest delay that is shorter than the first.
func (b Backoff) validate() error {
	if b.MaxSeconds < b.InitialSeconds {
		return rejectValue("backoff.maxSeconds", b.MaxSeconds, fmt.Sprintf("no less than backoff.initialSeconds, %d", b.InitialSeconds))
	}
	return nil
}

func (d Defaults) validate(l Limits) error {
	problems := []error{
		checkChoice("defaults.mode", d.Mode, listModes()),
		checkChoice("defaults.action", d.Action, l.AllowedActions),
		d.checkHang("defaults.hangSeconds"),
	}
	for _, n := range d.listNumbers(l) {
		problems = append(problems, n.checkBounds("defaults."+n.key))
	}
	return errors.Join(problems...)
}

// checkHang rejects settings with which a mount has failed before its first answer is overdue.
func (d Defaults) checkHang(key string) error {
	if d.HangSeconds < d.TimeoutSeconds {
		return rejectValue(key, d.HangSeconds, "no less than the timeout, "+strconv.Itoa(d.TimeoutSeconds))
	}
	return nil
}

func (l Limits) validate() error {
	_, err := l.Selector()
	problems := []error{err}
	if len(l.AllowedActions) == 0 {
		problems = append(problems, rejectChoice("limits.allowedActions", "", listActions()))
	}
	for _, action := range l.AllowedActions {
		problems = append(problems, checkChoice("limits.allowedActions", action, listActions()))
	}
	return errors.Join(problems...)
}

func (n boundedInt) checkBounds(key string) error {
	if *n.value < n.low || *n.value > n.high {
		return rejectNumber(key, *n.value, n.low, n.high)
	}
	return nil
}

func listModes() []Mode     { return []Mode{ModeRemediate, ModeReport} }
func listActions() []Action { return []Action{ActionEvict, ActionDelete} }

func checkChoice[T ~string](key string, value T, allowed []T) error {
	if !slices.Contains(allowed, value) {
		return rejectChoice(key, value, allowed)
	}
	return nil
}

func checkAbsolutePath(key, path string) error {
	if !filepath.IsAbs(path) {
		return rejectValue(key, path, "an absolute path")
	}
	return nil
}

// checkCertDir accepts a directory only where its certificate is used. Nobody must believe that
// metrics are encrypted when they are not.
func (c Config) checkCertDir() error {
	switch {
	case c.MetricsCertDir == "":
		return nil
	case !c.MetricsSecure:
		return rejectValue("metricsCertDir", c.MetricsCertDir, "none unless metricsSecure is true")
	}
	return checkAbsolutePath("metricsCertDir", c.MetricsCertDir)
}

func checkNodeName(name string) error {
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return rejectValue("nodeName", name, "the name of a node; set NODE_NAME from the downward API's spec.nodeName")
	}
	return nil
}

func checkNamespace(name string) error {
	if len(validation.IsDNS1123Label(name)) > 0 {
		return rejectValue("namespace", name, "the name of a namespace; set POD_NAMESPACE from the downward API's metadata.namespace")
	}
	return nil
}

// checkAddress accepts HOST:PORT, where HOST may be empty, and "0", which turns the listener off.
func checkAddress(key, value string) error {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil && value != AddressOff {
		return rejectValue(key, value, "HOST:PORT, :PORT or 0")
	}
	return nil
}

// AddressOff is the value of an address that turns its listener off.
const AddressOff = "0"

// StatusAddress returns where the agent serves its status, IP:PORT, and "" when it does not. The
// error is ErrInvalid.
func (c Config) StatusAddress() (string, error) {
	if c.StatusBindAddress == AddressOff {
		return "", nil
	}
	return c.StatusBindAddress, checkLoopback("statusBindAddress", c.StatusBindAddress)
}

// checkLoopback accepts the address of this host alone, and "0", which turns the listener off. The
// listener authenticates nobody. A name is rejected because what it resolves to may change.
func checkLoopback(key, value string) error {
	at, err := netip.ParseAddrPort(value)
	if value != AddressOff && (err != nil || !at.Addr().IsLoopback() || at.Port() == 0) {
		return rejectValue(key, value, "a loopback IP and a port, such as 127.0.0.1:8082 or [::1]:8082, or 0: it is shown without a login, "+
			"so that only this pod and kubectl port-forward may reach it")
	}
	return nil
}
