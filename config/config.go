package config

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"
)

// Mode says whether the agent may act on a pod. Only ModeRemediate permits it; the zero value does
// not.
type Mode string

// The modes of a pod.
const (
	ModeRemediate Mode = "Remediate" // evict or delete the pod when one of its mounts has failed
	ModeReport    Mode = "Report"    // events and metrics only
)

// Action says how the agent has a pod replaced.
type Action string

// The ways to have a pod replaced.
const (
	ActionEvict  Action = "Evict"  // by the Eviction API, which respects PodDisruptionBudgets
	ActionDelete Action = "Delete" // by a plain delete, which does not
)

// The values of Config.LogFormat.
const (
	LogFormatJSON = "json"
	LogFormatText = "text"
)

// Config is the agent's configuration. Its YAML keys are those of the file, and each names a flag
// and an environment variable as well. Keys lists them.
type Config struct {
	NodeName               string   `yaml:"nodeName"`
	Namespace              string   `yaml:"namespace"`
	DryRun                 bool     `yaml:"dryRun"`
	MetricsBindAddress     string   `yaml:"metricsBindAddress"`
	MetricsSecure          bool     `yaml:"metricsSecure"`
	MetricsCertDir         string   `yaml:"metricsCertDir"`
	HealthProbeBindAddress string   `yaml:"healthProbeBindAddress"`
	StatusBindAddress      string   `yaml:"statusBindAddress"`
	LogFormat              string   `yaml:"logFormat"`
	LogLevel               int      `yaml:"logLevel"`
	ProcRoot               string   `yaml:"procRoot"`
	WorkerPath             string   `yaml:"workerPath"`
	BackendPath            string   `yaml:"backendPath"`
	MaxWorkers             int      `yaml:"maxWorkers"`
	MaxParkedWorkers       int      `yaml:"maxParkedWorkers"`
	Events                 bool     `yaml:"events"`
	BlockedSeconds         int      `yaml:"blockedSeconds"`
	CheckBackends          bool     `yaml:"checkBackends"`
	FollowUpSeconds        int      `yaml:"followUpSeconds"`
	AbortStuckFUSE         bool     `yaml:"abortStuckFUSE"`
	Budgets                Budgets  `yaml:"budgets"`
	Storm                  Storm    `yaml:"storm"`
	Backoff                Backoff  `yaml:"backoff"`
	KubeAPI                KubeAPI  `yaml:"kubeAPI"`
	Defaults               Defaults `yaml:"defaults"`
	Limits                 Limits   `yaml:"limits"`
}

// KubeAPI bounds the load that one agent puts on the API server.
type KubeAPI struct {
	QPS   int `yaml:"qps"` // requests a second
	Burst int `yaml:"burst"`
}

// Budgets is how many pods all agents together may evict within any window of time.
type Budgets struct {
	WindowSeconds int `yaml:"windowSeconds"`
	Node          int `yaml:"node"`      // of one node
	Namespace     int `yaml:"namespace"` // of one namespace
	Cluster       int `yaml:"cluster"`
}

// Window returns the length of the window.
func (b Budgets) Window() time.Duration { return seconds(b.WindowSeconds) }

// Storm says when many failed mounts are one outage of the backend that serves them. The agents
// then open its circuit breaker: they evict one pod as a trial before all others.
type Storm struct {
	Threshold       int `yaml:"threshold"`       // pods at once, failed or evicted without a healthy replacement
	CooldownSeconds int `yaml:"cooldownSeconds"` // from a failed trial to the next; doubles with each
}

// Cooldown returns the time from the first failed trial to the next.
func (s Storm) Cooldown() time.Duration { return seconds(s.CooldownSeconds) }

// Backoff delays the eviction of a pod that replaces an evicted pod.
type Backoff struct {
	InitialSeconds int `yaml:"initialSeconds"` // before the second eviction; doubles with each
	MaxSeconds     int `yaml:"maxSeconds"`     // the longest delay
	ForgetSeconds  int `yaml:"forgetSeconds"`  // a pod that was healthy for this long ends the streak
	MaxAttempts    int `yaml:"maxAttempts"`    // consecutive evictions; then manual action is needed
}

// Defaults is the policy of a watched pod that says nothing but "watch".
type Defaults struct {
	Mode                Mode   `yaml:"mode"`
	Action              Action `yaml:"action"`
	PeriodSeconds       int    `yaml:"periodSeconds"`
	TimeoutSeconds      int    `yaml:"timeoutSeconds"`
	FailureThreshold    int    `yaml:"failureThreshold"`
	InitialDelaySeconds int    `yaml:"initialDelaySeconds"`
	HangSeconds         int    `yaml:"hangSeconds"`
	SettleSeconds       int    `yaml:"settleSeconds"`
}

// Limits is what the administrator lets annotations ask for.
type Limits struct {
	MinPeriodSeconds  int      `yaml:"minPeriodSeconds"`
	AllowedActions    []Action `yaml:"allowedActions"`
	AllowUnmanaged    bool     `yaml:"allowUnmanaged"`
	NamespaceSelector string   `yaml:"namespaceSelector"`
}

// Selector returns the selector that a namespace's labels must match before its pods are watched.
// With no NamespaceSelector it matches every namespace. The error is ErrInvalid.
func (l Limits) Selector() (labels.Selector, error) {
	s, err := labels.Parse(l.NamespaceSelector)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rejectValue("limits.namespaceSelector", l.NamespaceSelector, "a label selector such as team=data,env!=dev"), err)
	}
	return s, nil
}

// Default returns the configuration that applies where nothing else is said. It lacks a NodeName.
func Default() Config {
	return Config{
		MetricsBindAddress:     ":8080",
		HealthProbeBindAddress: ":8081",
		StatusBindAddress:      "127.0.0.1:8082",
		LogFormat:              LogFormatJSON,
		ProcRoot:               "/proc",
		WorkerPath:             "/mountwarden-probe",
		BackendPath:            "/mountwarden-backend",
		MaxWorkers:             16,
		MaxParkedWorkers:       64,
		Events:                 true,
		BlockedSeconds:         30,
		CheckBackends:          true,
		FollowUpSeconds:        300,
		Budgets:                Budgets{WindowSeconds: 60, Node: 30, Namespace: 60, Cluster: 120},
		Storm:                  Storm{Threshold: 5, CooldownSeconds: 30},
		Backoff:                Backoff{InitialSeconds: 10, MaxSeconds: 300, ForgetSeconds: 600, MaxAttempts: 5},
		KubeAPI:                KubeAPI{QPS: 20, Burst: 30},
		Defaults: Defaults{
			Mode:             ModeRemediate,
			Action:           ActionEvict,
			PeriodSeconds:    10,
			TimeoutSeconds:   5,
			FailureThreshold: 3,
			HangSeconds:      40,
		},
		Limits: Limits{
			MinPeriodSeconds: 1,
			AllowedActions:   []Action{ActionEvict, ActionDelete},
			AllowUnmanaged:   true,
		},
	}
}

// YAML returns the configuration as a file that loads to the same configuration again.
func (c Config) YAML() ([]byte, error) {
	return yaml.Marshal(c)
}
