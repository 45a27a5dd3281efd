package config_test

import (
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/config"
)

func TestValidateAccepts(t *testing.T) {
	for name, change := range map[string]func(*config.Config){
		"default":           func(*config.Config) {},
		"dotted node":       func(c *config.Config) { c.NodeName = "ip-10-0-0-1.eu.internal" },
		"text log":          func(c *config.Config) { c.LogFormat = config.LogFormatText },
		"most verbose":      func(c *config.Config) { c.LogLevel = 9 },
		"listeners off":     func(c *config.Config) { c.MetricsBindAddress, c.HealthProbeBindAddress = "0", "0" },
		"IPv6 loopback":     func(c *config.Config) { c.MetricsBindAddress = "[::1]:0" },
		"short namespace":   func(c *config.Config) { c.Namespace = "0" },
		"longest namespace": func(c *config.Config) { c.Namespace = strings.Repeat("a", 63) },
		"least budgets": func(c *config.Config) {
			c.Budgets = config.Budgets{WindowSeconds: 1, Node: 1, Namespace: 1, Cluster: 1}
		},
		"largest budgets": func(c *config.Config) {
			c.Budgets = config.Budgets{WindowSeconds: 3600, Node: 600, Namespace: 600, Cluster: 600}
		},
		"parts are the whole": func(c *config.Config) { c.Budgets.Node, c.Budgets.Namespace, c.Budgets.Cluster = 7, 7, 7 },
		"a node for two":      func(c *config.Config) { c.Budgets.Node, c.Budgets.Namespace = 50, 3 }, // neither is part of the other
		"always one pilot":    func(c *config.Config) { c.Storm = config.Storm{Threshold: 1, CooldownSeconds: 1} },
		"never a storm":       func(c *config.Config) { c.Storm = config.Storm{Threshold: 600, CooldownSeconds: 3600} },
		"one delay":           func(c *config.Config) { c.Backoff.InitialSeconds, c.Backoff.MaxSeconds = 20, 20 },
		"longest delays": func(c *config.Config) {
			c.Backoff = config.Backoff{InitialSeconds: 86400, MaxSeconds: 86400, ForgetSeconds: 86400, MaxAttempts: 1000}
		},
		"followed for an hour": func(c *config.Config) { c.FollowUpSeconds = 3600 },
		"never delete":         func(c *config.Config) { c.BlockedSeconds = 0 },
		"report by default":    func(c *config.Config) { c.Defaults.Mode = config.ModeReport },
		"only deletion": func(c *config.Config) {
			c.Defaults.Action, c.Limits.AllowedActions = "Delete", []config.Action{"Delete"}
		},
		"hang is timeout":    func(c *config.Config) { c.Defaults.HangSeconds, c.Defaults.TimeoutSeconds = 7, 7 },
		"period at limit":    func(c *config.Config) { c.Limits.MinPeriodSeconds = 10 },
		"no status":          func(c *config.Config) { c.StatusBindAddress = "0" },
		"status on IPv6":     func(c *config.Config) { c.StatusBindAddress = "[::1]:1" },
		"another loopback":   func(c *config.Config) { c.StatusBindAddress = "127.1.2.3:65535" },
		"namespaces by team": func(c *config.Config) { c.Limits.NamespaceSelector = "team in (a, b)" },
	} {
		t.Run(name, func(t *testing.T) {
			c := valid()
			change(&c)
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*config.Config)
		words  []string
	}{
		"no node":                     {func(c *config.Config) { c.NodeName = "" }, []string{`nodeName ""`, "NODE_NAME"}},
		"no node's name":              {func(c *config.Config) { c.NodeName = "a/b" }, []string{`nodeName "a/b"`}},
		"no port":                     {func(c *config.Config) { c.MetricsBindAddress = "8080" }, []string{`metricsBindAddress "8080"`, ":PORT"}},
		"no address":                  {func(c *config.Config) { c.HealthProbeBindAddress = "" }, []string{`healthProbeBindAddress ""`}},
		"a certificate for nothing":   {func(c *config.Config) { c.MetricsCertDir = "/tls" }, []string{`metricsCertDir "/tls"`, "metricsSecure"}},
		"a certificate somewhere":     {func(c *config.Config) { c.MetricsSecure, c.MetricsCertDir = true, "tls" }, []string{`metricsCertDir "tls"`, "absolute"}},
		"status for everybody":        {func(c *config.Config) { c.StatusBindAddress = ":8082" }, []string{`statusBindAddress ":8082"`, "loopback", "127.0.0.1:8082", "without a login", "port-forward"}},
		"status on any address":       {func(c *config.Config) { c.StatusBindAddress = "0.0.0.0:8082" }, []string{`statusBindAddress "0.0.0.0:8082"`}},
		"status on any IPv6 address":  {func(c *config.Config) { c.StatusBindAddress = "[::]:8082" }, []string{`statusBindAddress "[::]:8082"`}},
		"status on the pod network":   {func(c *config.Config) { c.StatusBindAddress = "10.0.0.1:8082" }, []string{`statusBindAddress "10.0.0.1:8082"`}},
		"status by name":              {func(c *config.Config) { c.StatusBindAddress = "localhost:8082" }, []string{`statusBindAddress "localhost:8082"`}},
		"status on any port":          {func(c *config.Config) { c.StatusBindAddress = "127.0.0.1:0" }, []string{`statusBindAddress "127.0.0.1:0"`}},
		"status on no port":           {func(c *config.Config) { c.StatusBindAddress = "127.0.0.1" }, []string{`statusBindAddress "127.0.0.1"`}},
		"status nowhere":              {func(c *config.Config) { c.StatusBindAddress = "" }, []string{`statusBindAddress ""`}},
		"port out of range":           {func(c *config.Config) { c.MetricsBindAddress = ":65536" }, []string{`":65536"`}},
		"port by name":                {func(c *config.Config) { c.MetricsBindAddress = ":http" }, []string{`":http"`}},
		"log format":                  {func(c *config.Config) { c.LogFormat = "xml" }, []string{`logFormat "xml"`, "json, text"}},
		"log level below":             {func(c *config.Config) { c.LogLevel = -1 }, []string{`logLevel "-1"`, "0 to 9"}},
		"log level above":             {func(c *config.Config) { c.LogLevel = 10 }, []string{`logLevel "10"`}},
		"relative proc":               {func(c *config.Config) { c.ProcRoot = "proc" }, []string{`procRoot "proc"`, "absolute"}},
		"no worker":                   {func(c *config.Config) { c.WorkerPath = "" }, []string{`workerPath ""`}},
		"no workers":                  {func(c *config.Config) { c.MaxWorkers = 0 }, []string{`maxWorkers "0"`, "1 to 256"}},
		"workers above":               {func(c *config.Config) { c.MaxWorkers = 257 }, []string{`maxWorkers "257"`}},
		"no parked workers":           {func(c *config.Config) { c.MaxParkedWorkers = 0 }, []string{`maxParkedWorkers "0"`}},
		"no requests":                 {func(c *config.Config) { c.KubeAPI.QPS = 0 }, []string{`kubeAPI.qps "0"`}},
		"no burst":                    {func(c *config.Config) { c.KubeAPI.Burst = -3 }, []string{`kubeAPI.burst "-3"`}},
		"blocked in the past":         {func(c *config.Config) { c.BlockedSeconds = -1 }, []string{`blockedSeconds "-1"`, "0 to 86400"}},
		"no namespace":                {func(c *config.Config) { c.Namespace = "" }, []string{`namespace ""`, `POD_NAMESPACE`, `metadata.namespace`}},
		"no namespace's name":         {func(c *config.Config) { c.Namespace = "a.b" }, []string{`namespace "a.b"`}},
		"namespace in capitals":       {func(c *config.Config) { c.Namespace = "Mount" }, []string{`namespace "Mount"`}},
		"namespace too long":          {func(c *config.Config) { c.Namespace = strings.Repeat("a", 64) }, []string{`namespace "aaa`}},
		"followed too shortly":        {func(c *config.Config) { c.FollowUpSeconds = 9 }, []string{`followUpSeconds "9"`, `10 to 3600`}},
		"followed too long":           {func(c *config.Config) { c.FollowUpSeconds = 3601 }, []string{`followUpSeconds "3601"`}},
		"no window":                   {func(c *config.Config) { c.Budgets.WindowSeconds = 0 }, []string{`budgets.windowSeconds "0"`, `1 to 3600`}},
		"window too long":             {func(c *config.Config) { c.Budgets.WindowSeconds = 3601 }, []string{`budgets.windowSeconds "3601"`}},
		"no removals of a node":       {func(c *config.Config) { c.Budgets.Node = 0 }, []string{`budgets.node "0"`, `1 to 600`}},
		"no removals of a namespace":  {func(c *config.Config) { c.Budgets.Namespace = -1 }, []string{`budgets.namespace "-1"`, `1 to 600`}},
		"no removals of the cluster":  {func(c *config.Config) { c.Budgets.Cluster = 0 }, []string{`budgets.cluster "0"`, `1 to 600`}},
		"more than a Lease holds":     {func(c *config.Config) { c.Budgets.Cluster = 601 }, []string{`budgets.cluster "601"`}},
		"node above the cluster":      {func(c *config.Config) { c.Budgets.Node = 121 }, []string{`budgets.node "121"`, `no more than budgets.cluster, 120`, `raise budgets.cluster`}},
		"namespace above the cluster": {func(c *config.Config) { c.Budgets.Cluster = 59 }, []string{`budgets.namespace "60"`, `no more than budgets.cluster, 59`}},
		"both above the cluster":      {func(c *config.Config) { c.Budgets.Cluster = 5 }, []string{`budgets.namespace "60"`, `budgets.node "30"`}},
		"no storm":                    {func(c *config.Config) { c.Storm.Threshold = 0 }, []string{`storm.threshold "0"`, `1 to 600`}},
		"storm above":                 {func(c *config.Config) { c.Storm.Threshold = 601 }, []string{`storm.threshold "601"`}},
		"no cooldown":                 {func(c *config.Config) { c.Storm.CooldownSeconds = 0 }, []string{`storm.cooldownSeconds "0"`, `1 to 3600`}},
		"cooldown above":              {func(c *config.Config) { c.Storm.CooldownSeconds = 3601 }, []string{`storm.cooldownSeconds "3601"`}},
		"no first delay":              {func(c *config.Config) { c.Backoff.InitialSeconds = 0 }, []string{`backoff.initialSeconds "0"`, `1 to 86400`}},
		"first delay above":           {func(c *config.Config) { c.Backoff.InitialSeconds = 86401 }, []string{`backoff.initialSeconds "86401"`}},
		"no longest delay":            {func(c *config.Config) { c.Backoff.MaxSeconds = 0 }, []string{`backoff.maxSeconds "0"`}},
		"longest delay above":         {func(c *config.Config) { c.Backoff.MaxSeconds = 86401 }, []string{`backoff.maxSeconds "86401"`}},
		"longest below first":         {func(c *config.Config) { c.Backoff.MaxSeconds = 9 }, []string{`backoff.maxSeconds "9"`, `no less than backoff.initialSeconds, 10`}},
		"first above longest":         {func(c *config.Config) { c.Backoff.InitialSeconds = 301 }, []string{`backoff.maxSeconds "300"`, `no less than backoff.initialSeconds, 301`}},
		"nothing forgotten":           {func(c *config.Config) { c.Backoff.ForgetSeconds = 0 }, []string{`backoff.forgetSeconds "0"`}},
		"forgotten after days":        {func(c *config.Config) { c.Backoff.ForgetSeconds = 86401 }, []string{`backoff.forgetSeconds "86401"`}},
		"no attempt":                  {func(c *config.Config) { c.Backoff.MaxAttempts = 0 }, []string{`backoff.maxAttempts "0"`, `1 to 1000`}},
		"attempts above":              {func(c *config.Config) { c.Backoff.MaxAttempts = 1001 }, []string{`backoff.maxAttempts "1001"`}},
		"mode":                        {func(c *config.Config) { c.Defaults.Mode = "report" }, []string{`defaults.mode "report"`, "Remediate, Report"}},
		"no mode":                     {func(c *config.Config) { c.Defaults.Mode = "" }, []string{`defaults.mode ""`}},
		"action":                      {func(c *config.Config) { c.Defaults.Action = "Kill" }, []string{`defaults.action "Kill"`, "Evict, Delete"}},
		"action beyond limits":        {func(c *config.Config) { c.Limits.AllowedActions = []config.Action{"Delete"} }, []string{`defaults.action "Evict"`, "one of Delete"}},
		"no action allowed":           {func(c *config.Config) { c.Limits.AllowedActions = nil }, []string{"limits.allowedActions", "Evict, Delete"}},
		"unknown action":              {func(c *config.Config) { c.Limits.AllowedActions = []config.Action{"Evict", "Kill"} }, []string{`limits.allowedActions "Kill"`}},
		"period below limit":          {func(c *config.Config) { c.Limits.MinPeriodSeconds = 11 }, []string{`defaults.periodSeconds "10"`, "11 to"}},
		"period above":                {func(c *config.Config) { c.Defaults.PeriodSeconds = 86401 }, []string{`defaults.periodSeconds "86401"`}},
		"limit below":                 {func(c *config.Config) { c.Limits.MinPeriodSeconds = 0 }, []string{`limits.minPeriodSeconds "0"`, "1 to"}},
		"no timeout":                  {func(c *config.Config) { c.Defaults.TimeoutSeconds = 0 }, []string{`defaults.timeoutSeconds "0"`}},
		"no threshold":                {func(c *config.Config) { c.Defaults.FailureThreshold = 0 }, []string{`defaults.failureThreshold "0"`}},
		"delay in the past":           {func(c *config.Config) { c.Defaults.InitialDelaySeconds = -1 }, []string{`defaults.initialDelaySeconds "-1"`}},
		"settled in the past":         {func(c *config.Config) { c.Defaults.SettleSeconds = -1 }, []string{`defaults.settleSeconds "-1"`}},
		"hang before timeout":         {func(c *config.Config) { c.Defaults.HangSeconds = 4 }, []string{`defaults.hangSeconds "4"`, "timeout, 5"}},
		"hang above":                  {func(c *config.Config) { c.Defaults.HangSeconds = 86401 }, []string{`defaults.hangSeconds "86401"`}},
		"selector":                    {func(c *config.Config) { c.Limits.NamespaceSelector = "a in" }, []string{`limits.namespaceSelector "a in"`, "label selector"}},
		"value longer than fit":       {func(c *config.Config) { c.LogFormat = strings.Repeat("x", 1000) }, []string{strings.Repeat("x", 80) + `..."`}},
		"no backend program":          {func(c *config.Config) { c.BackendPath = "backend" }, []string{`backendPath "backend"`, "absolute"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := valid()
			tc.change(&c)
			requireInvalid(t, c.Validate(), tc.words...)
		})
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	requireInvalid(t, config.Config{}.Validate(),
		"nodeName", "namespace", "metricsBindAddress", "healthProbeBindAddress", "statusBindAddress", "logFormat", "procRoot", "workerPath", "maxWorkers", "followUpSeconds",
		"budgets.windowSeconds", "storm.threshold", "backoff.maxAttempts",
		"defaults.mode", "defaults.timeoutSeconds", "limits.minPeriodSeconds", "limits.allowedActions")
}

func TestStatusAddress(t *testing.T) {
	for value, want := range map[string]string{"0": "", "127.0.0.1:1": "127.0.0.1:1", "[::1]:8082": "[::1]:8082"} {
		if got, err := (config.Config{StatusBindAddress: value}).StatusAddress(); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", value, got, err, want)
		}
	}
	_, err := config.Config{StatusBindAddress: "node:8082"}.StatusAddress()
	requireInvalid(t, err, "statusBindAddress", `"node:8082"`)
}
