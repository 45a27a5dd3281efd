package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// setting ties one key to the field it sets. It is a pflag.Value. The file and the environment set
// it with the same text as the flag.
type setting struct {
	key   string // as in the file; a dot separates the section from the key
	field any    // *string, *bool, *int, *Mode, *Action or *[]Action
	usage string
}

// listSettings lists every setting of c, in the order of the file.
func listSettings(c *Config) []setting {
	return append([]setting{
		{"nodeName", &c.NodeName, "name of the node this agent runs on; also read from NODE_NAME"},
		{"namespace", &c.Namespace, "namespace of this agent, where the agents keep their Leases; also read from POD_NAMESPACE"},
		{"dryRun", &c.DryRun, "decide and report, but never evict or delete"},
		{"metricsBindAddress", &c.MetricsBindAddress, "address of /metrics; 0 turns it off"},
		{"metricsSecure", &c.MetricsSecure, "serve /metrics by HTTPS, to whom the API server lets get it"},
		{"metricsCertDir", &c.MetricsCertDir, "folder of tls.crt and tls.key for metricsSecure; empty makes a certificate that nobody has signed"},
		{"healthProbeBindAddress", &c.HealthProbeBindAddress, "address of /healthz and /readyz; 0 turns it off"},
		{"statusBindAddress", &c.StatusBindAddress, "loopback address of /statusz, which mountwarden status reads; 0 turns it off"},
		{"logFormat", &c.LogFormat, "json or text"},
		{"logLevel", &c.LogLevel, "verbosity from 0 (changes and acts) to 9"},
		{"procRoot", &c.ProcRoot, "where the host's proc(5) is mounted"},
		{"workerPath", &c.WorkerPath, "the program that touches mounts in the agent's place"},
		{"backendPath", &c.BackendPath, "the program that asks CSI drivers and NFS servers in the agent's place"},
		{"maxWorkers", &c.MaxWorkers, "how many workers may look at mounts at a time"},
		{"maxParkedWorkers", &c.MaxParkedWorkers, "how many workers may wait for hung mounts before the agent calls itself unhealthy"},
		{"events", &c.Events, "look as soon as the kernel tells of a change, not only period by period"},
		{"blockedSeconds", &c.BlockedSeconds, "delete a pod when a PodDisruptionBudget blocked its eviction for so long and the cause is final; 0 never does"},
		{"checkBackends", &c.CheckBackends, "keep a pod as long as a fresh mount would fail: its CSI driver or NFS server does not answer, or the host's mount is broken"},
		{"followUpSeconds", &c.FollowUpSeconds, "for how long a removed pod's successor may take to become healthy"},
		{"abortStuckFUSE", &c.AbortStuckFUSE, "abort the dead FUSE connection that keeps a removed pod from ending"},
		{"budgets.windowSeconds", &c.Budgets.WindowSeconds, "length of the window in which removals are counted, over all agents"},
		{"budgets.node", &c.Budgets.Node, "removals of one node in a window"},
		{"budgets.namespace", &c.Budgets.Namespace, "removals of one namespace in a window"},
		{"budgets.cluster", &c.Budgets.Cluster, "removals of the cluster in a window"},
		{"storm.threshold", &c.Storm.Threshold, "pods of one backend that fail at once; with more one pod is tried first"},
		{"storm.cooldownSeconds", &c.Storm.CooldownSeconds, "time from a try in vain to the next, doubled with each"},
		{"backoff.initialSeconds", &c.Backoff.InitialSeconds, "delay before a successor is removed too, doubled with each"},
		{"backoff.maxSeconds", &c.Backoff.MaxSeconds, "longest such delay"},
		{"backoff.forgetSeconds", &c.Backoff.ForgetSeconds, "a pod whose mounts were healthy for so long begins a new row"},
		{"backoff.maxAttempts", &c.Backoff.MaxAttempts, "removals in a row of one owner's pods; then a person is needed"},
		{"kubeAPI.qps", &c.KubeAPI.QPS, "requests a second to the API server"},
		{"kubeAPI.burst", &c.KubeAPI.Burst, "requests at once to the API server"},
	}, append(c.Defaults.listSettings(), c.Limits.listSettings()...)...)
}

func (d *Defaults) listSettings() []setting {
	return []setting{
		{"defaults.mode", &d.Mode, "Remediate or Report"},
		{"defaults.action", &d.Action, "Evict or Delete"},
		{"defaults.periodSeconds", &d.PeriodSeconds, "time from one look at a mount to the next"},
		{"defaults.timeoutSeconds", &d.TimeoutSeconds, "time in which a mount must answer"},
		{"defaults.failureThreshold", &d.FailureThreshold, "looks in a row that must fail, for causes that are not final"},
		{"defaults.initialDelaySeconds", &d.InitialDelaySeconds, "time from a container's start to the first look"},
		{"defaults.hangSeconds", &d.HangSeconds, "time without an answer after which a mount has failed"},
		{"defaults.settleSeconds", &d.SettleSeconds, "time from failure to act, in which a recovery cancels it"},
	}
}

func (l *Limits) listSettings() []setting {
	return []setting{
		{"limits.minPeriodSeconds", &l.MinPeriodSeconds, "the shortest period an annotation may ask for"},
		{"limits.allowedActions", &l.AllowedActions, "the actions an annotation may ask for"},
		{"limits.allowUnmanaged", &l.AllowUnmanaged, "whether an annotation may ask to act on a pod with no controller"},
		{"limits.namespaceSelector", &l.NamespaceSelector, "label selector of the namespaces whose pods may opt in; empty is all"},
	}
}

// Keys lists every key of the file, in its order. A key such as limits.minPeriodSeconds is also the
// flag --limits-min-period-seconds and the variable MOUNTWARDEN_LIMITS_MIN_PERIOD_SECONDS.
func Keys() []string {
	all := listSettings(new(Config))
	keys := make([]string, len(all))
	for i, s := range all {
		keys[i] = s.key
	}
	return keys
}

// Set parses text into the field. It implements pflag.Value.
func (s setting) Set(text string) (err error) {
	switch field := s.field.(type) {
	case *bool:
		*field, err = strconv.ParseBool(text)
	case *int:
		*field, err = strconv.Atoi(text)
	case *[]Action:
		*field = splitActions(text)
	case *Mode:
		*field = Mode(text)
	case *Action:
		*field = Action(text)
	case *string:
		*field = text
	}
	if err != nil {
		return rejectValue(s.key, text, "a plain "+s.Type())
	}
	return nil
}

// String returns the field as Set reads it.
func (s setting) String() string {
	if list, ok := s.field.(*[]Action); ok {
		return strings.ReplaceAll(joinValues(*list), ", ", ",")
	}
	return fmt.Sprint(reflect.ValueOf(s.field).Elem())
}

// Type names the kind of value for a flag's usage line.
func (s setting) Type() string {
	switch s.field.(type) {
	case *bool:
		return "bool"
	case *int:
		return "int"
	case *[]Action:
		return "list"
	default:
		return "string"
	}
}

// flagName returns the name of the setting's flag.
func (s setting) flagName() string {
	return toKebabCase(strings.ReplaceAll(s.key, ".", "-"))
}

// variableName returns the name of the setting's environment variable.
func (s setting) variableName() string {
	return "MOUNTWARDEN_" + strings.ToUpper(strings.ReplaceAll(s.flagName(), "-", "_"))
}

// toKebabCase turns camelCase into camel-case. A run of capitals stays together: kubeAPI is
// kube-api.
func toKebabCase(camel string) string {
	var b strings.Builder
	lower := false
	for _, r := range camel {
		upper := r >= 'A' && r <= 'Z'
		if upper && lower {
			b.WriteByte('-')
		}
		lower = r >= 'a' && r <= 'z'
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String()
}

// splitActions splits a list at its commas. No text is an empty list.
func splitActions(text string) []Action {
	var list []Action
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			list = append(list, Action(name))
		}
	}
	return list
}
