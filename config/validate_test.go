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
		"never delete":      func(c *config.Config) { c.BlockedSeconds = 0 },
		"report by default": func(c *config.Config) { c.Defaults.Mode = config.ModeReport },
		"only deletion": func(c *config.Config) {
			c.Defaults.Action, c.Limits.AllowedActions = "Delete", []config.Action{"Delete"}
		},
		"hang is timeout":    func(c *config.Config) { c.Defaults.HangSeconds, c.Defaults.TimeoutSeconds = 7, 7 },
		"period at limit":    func(c *config.Config) { c.Limits.MinPeriodSeconds = 10 },
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
		"no node":               {func(c *config.Config) { c.NodeName = "" }, []string{`nodeName ""`, "NODE_NAME"}},
		"no node's name":        {func(c *config.Config) { c.NodeName = "a/b" }, []string{`nodeName "a/b"`}},
		"no port":               {func(c *config.Config) { c.MetricsBindAddress = "8080" }, []string{`metricsBindAddress "8080"`, ":PORT"}},
		"no address":            {func(c *config.Config) { c.HealthProbeBindAddress = "" }, []string{`healthProbeBindAddress ""`}},
		"port out of range":     {func(c *config.Config) { c.MetricsBindAddress = ":65536" }, []string{`":65536"`}},
		"port by name":          {func(c *config.Config) { c.MetricsBindAddress = ":http" }, []string{`":http"`}},
		"log format":            {func(c *config.Config) { c.LogFormat = "xml" }, []string{`logFormat "xml"`, "json, text"}},
		"log level below":       {func(c *config.Config) { c.LogLevel = -1 }, []string{`logLevel "-1"`, "0 to 9"}},
		"log level above":       {func(c *config.Config) { c.LogLevel = 10 }, []string{`logLevel "10"`}},
		"relative proc":         {func(c *config.Config) { c.ProcRoot = "proc" }, []string{`procRoot "proc"`, "absolute"}},
		"no worker":             {func(c *config.Config) { c.WorkerPath = "" }, []string{`workerPath ""`}},
		"no backend program":    {func(c *config.Config) { c.BackendPath = "backend" }, []string{`backendPath "backend"`, "absolute"}},
		"no workers":            {func(c *config.Config) { c.MaxWorkers = 0 }, []string{`maxWorkers "0"`, "1 to 256"}},
		"workers above":         {func(c *config.Config) { c.MaxWorkers = 257 }, []string{`maxWorkers "257"`}},
		"no parked workers":     {func(c *config.Config) { c.MaxParkedWorkers = 0 }, []string{`maxParkedWorkers "0"`}},
		"no requests":           {func(c *config.Config) { c.KubeAPI.QPS = 0 }, []string{`kubeAPI.qps "0"`}},
		"no burst":              {func(c *config.Config) { c.KubeAPI.Burst = -3 }, []string{`kubeAPI.burst "-3"`}},
		"blocked in the past":   {func(c *config.Config) { c.BlockedSeconds = -1 }, []string{`blockedSeconds "-1"`, "0 to 86400"}},
		"mode":                  {func(c *config.Config) { c.Defaults.Mode = "report" }, []string{`defaults.mode "report"`, "Remediate, Report"}},
		"no mode":               {func(c *config.Config) { c.Defaults.Mode = "" }, []string{`defaults.mode ""`}},
		"action":                {func(c *config.Config) { c.Defaults.Action = "Kill" }, []string{`defaults.action "Kill"`, "Evict, Delete"}},
		"action beyond limits":  {func(c *config.Config) { c.Limits.AllowedActions = []config.Action{"Delete"} }, []string{`defaults.action "Evict"`, "one of Delete"}},
		"no action allowed":     {func(c *config.Config) { c.Limits.AllowedActions = nil }, []string{"limits.allowedActions", "Evict, Delete"}},
		"unknown action":        {func(c *config.Config) { c.Limits.AllowedActions = []config.Action{"Evict", "Kill"} }, []string{`limits.allowedActions "Kill"`}},
		"period below limit":    {func(c *config.Config) { c.Limits.MinPeriodSeconds = 11 }, []string{`defaults.periodSeconds "10"`, "11 to"}},
		"period above":          {func(c *config.Config) { c.Defaults.PeriodSeconds = 86401 }, []string{`defaults.periodSeconds "86401"`}},
		"limit below":           {func(c *config.Config) { c.Limits.MinPeriodSeconds = 0 }, []string{`limits.minPeriodSeconds "0"`, "1 to"}},
		"no timeout":            {func(c *config.Config) { c.Defaults.TimeoutSeconds = 0 }, []string{`defaults.timeoutSeconds "0"`}},
		"no threshold":          {func(c *config.Config) { c.Defaults.FailureThreshold = 0 }, []string{`defaults.failureThreshold "0"`}},
		"delay in the past":     {func(c *config.Config) { c.Defaults.InitialDelaySeconds = -1 }, []string{`defaults.initialDelaySeconds "-1"`}},
		"settled in the past":   {func(c *config.Config) { c.Defaults.SettleSeconds = -1 }, []string{`defaults.settleSeconds "-1"`}},
		"hang before timeout":   {func(c *config.Config) { c.Defaults.HangSeconds = 4 }, []string{`defaults.hangSeconds "4"`, "timeout, 5"}},
		"hang above":            {func(c *config.Config) { c.Defaults.HangSeconds = 86401 }, []string{`defaults.hangSeconds "86401"`}},
		"selector":              {func(c *config.Config) { c.Limits.NamespaceSelector = "a in" }, []string{`limits.namespaceSelector "a in"`, "label selector"}},
		"value longer than fit": {func(c *config.Config) { c.LogFormat = strings.Repeat("x", 1000) }, []string{strings.Repeat("x", 80) + `..."`}},
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
		"nodeName", "metricsBindAddress", "healthProbeBindAddress", "logFormat", "procRoot", "workerPath", "maxWorkers",
		"defaults.mode", "defaults.timeoutSeconds", "limits.minPeriodSeconds", "limits.allowedActions")
}
