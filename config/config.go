package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"
)

// Mode says whether the agent may act on a pod. Only ModeRemediate permits an act; the zero value does not.
type Mode string

// The modes of a pod.
const (
	ModeRemediate Mode = "Remediate" // remove the pod when one of its mounts has failed
	ModeReport    Mode = "Report"    // events and metrics only
)

// Action says how a pod is removed.
type Action string

// The ways to remove a pod.
const (
	ActionEvict  Action = "Evict"  // by the Eviction API, which respects PodDisruptionBudgets
	ActionDelete Action = "Delete" // by a plain delete, which does not
)

// The values of Config.LogFormat.
const (
	LogFormatJSON = "json"
	LogFormatText = "text"
)

// Config is the agent's configuration. Its YAML keys are those of the file, and each names a flag and an
// environment variable as well; Keys lists them.
type Config struct {
	NodeName               string   `yaml:"nodeName"`
	DryRun                 bool     `yaml:"dryRun"`
	MetricsBindAddress     string   `yaml:"metricsBindAddress"`
	HealthProbeBindAddress string   `yaml:"healthProbeBindAddress"`
	LogFormat              string   `yaml:"logFormat"`
	LogLevel               int      `yaml:"logLevel"`
	ProcRoot               string   `yaml:"procRoot"`
	WorkerPath             string   `yaml:"workerPath"`
	MaxWorkers             int      `yaml:"maxWorkers"`
	MaxParkedWorkers       int      `yaml:"maxParkedWorkers"`
	Events                 bool     `yaml:"events"`
	BlockedSeconds         int      `yaml:"blockedSeconds"`
	KubeAPI                KubeAPI  `yaml:"kubeAPI"`
	Defaults               Defaults `yaml:"defaults"`
	Limits                 Limits   `yaml:"limits"`
}

// KubeAPI bounds the load that one agent puts on the API server.
type KubeAPI struct {
	QPS   int `yaml:"qps"` // requests a second
	Burst int `yaml:"burst"`
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

// Selector returns the selector that a namespace's labels must match before its pods are watched; with
// no NamespaceSelector it matches every namespace. The error is ErrInvalid.
func (l Limits) Selector() (labels.Selector, error) {
	s, err := labels.Parse(l.NamespaceSelector)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", invalid("limits.namespaceSelector", l.NamespaceSelector, "a label selector such as team=data,env!=dev"), err)
	}
	return s, nil
}

// Default returns the configuration that applies where nothing else is said. It lacks a NodeName.
func Default() Config {
	return Config{
		MetricsBindAddress:     ":8080",
		HealthProbeBindAddress: ":8081",
		LogFormat:              LogFormatJSON,
		ProcRoot:               "/proc",
		WorkerPath:             "/mountwarden-probe",
		MaxWorkers:             16,
		MaxParkedWorkers:       64,
		Events:                 true,
		BlockedSeconds:         30,
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
