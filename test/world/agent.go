package world

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Agent returns the agent's pod on the one node, once it is ready.
func (w *World) Agent(ctx context.Context) (*corev1.Pod, error) {
	var agent *corev1.Pod
	err := Until(ctx, "a ready agent", func(ctx context.Context) (bool, string) {
		list, err := w.Client.CoreV1().Pods(AgentNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=mountwarden"})
		if err != nil {
			return false, err.Error()
		}
		for i := range list.Items {
			if p := &list.Items[i]; p.DeletionTimestamp == nil && Ready(p) {
				agent = p
				return true, ""
			}
		}
		return false, describe(list.Items)
	})
	return agent, err
}

// AwaitHealthy waits until the agent has found these volumes of the pod healthy: from then on it is on guard.
func (w *World) AwaitHealthy(ctx context.Context, pod *corev1.Pod, volumes ...string) error {
	return Until(ctx, "the agent to find "+pod.Name+" healthy", func(ctx context.Context) (bool, string) {
		metrics, err := w.Metrics(ctx)
		if err != nil {
			return false, err.Error()
		}
		for _, v := range volumes {
			found := Find(metrics["mountwarden_mount_healthy"], "namespace", pod.Namespace, "pod", pod.Name, "volume", v)
			if len(found) == 0 || found[0].Value != 1 {
				return false, fmt.Sprintf("volume %s: %v", v, found)
			}
		}
		return true, ""
	})
}

// Sample is one series of a scrape.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Metrics scrapes the agent and returns the samples of each counter and gauge by name.
func (w *World) Metrics(ctx context.Context) (map[string][]Sample, error) {
	agent, err := w.Agent(ctx)
	if err != nil {
		return nil, err
	}
	text, err := Get(ctx, "http://"+net.JoinHostPort(agent.Status.PodIP, "8080")+"/metrics")
	if err != nil {
		return nil, fmt.Errorf("scrape the agent: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("parse the agent's metrics: %w", err)
	}
	all := map[string][]Sample{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			all[name] = append(all[name], sample(m))
		}
	}
	return all, nil
}

// Get returns what a URL answers with 200 OK, within 10 s.
func Get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}

func sample(m *dto.Metric) Sample {
	s := Sample{Labels: map[string]string{}}
	for _, l := range m.GetLabel() {
		s.Labels[l.GetName()] = l.GetValue()
	}
	switch {
	case m.Counter != nil:
		s.Value = m.GetCounter().GetValue()
	case m.Gauge != nil:
		s.Value = m.GetGauge().GetValue()
	case m.Histogram != nil:
		s.Value = float64(m.GetHistogram().GetSampleCount())
	}
	return s
}

// Find returns the samples that have all of these labels, given as pairs.
func Find(samples []Sample, labels ...string) []Sample {
	var found []Sample
	for _, s := range samples {
		if s.has(labels) {
			found = append(found, s)
		}
	}
	return found
}

func (s Sample) has(labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if s.Labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}
