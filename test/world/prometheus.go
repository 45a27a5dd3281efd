package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mountwarden/mountwarden/test/internal/apiserver"
)

// prometheusConfig scrapes the agents as the chart's PodMonitor has the Prometheus Operator do it, but every second.
const prometheusConfig = `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: mountwarden
    honor_labels: true
    kubernetes_sd_configs:
      - {role: pod, kubeconfig_file: %q, namespaces: {names: [%s]}}
    relabel_configs:
      - {source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name, __meta_kubernetes_pod_container_port_name], regex: mountwarden;metrics, action: keep}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
`

// Prometheus is a real one that scrapes the agents of the cluster.
type Prometheus struct {
	base string
	cmd  *exec.Cmd
	log  *os.File
}

// Alert is one that is pending or firing.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
}

// StartPrometheus runs the program that PROMETHEUS names, with alerting rules as its own files have them, in a folder of its own.
func (w *World) StartPrometheus(ctx context.Context, folder string, rules []byte) (*Prometheus, error) {
	program := os.Getenv("PROMETHEUS")
	if program == "" {
		return nil, errors.New("PROMETHEUS names no program; `make test-e2e` sets it")
	}
	for name, text := range map[string][]byte{
		"prometheus.yaml": fmt.Appendf(nil, prometheusConfig, os.Getenv("KUBECONFIG"), AgentNamespace), "rules.yaml": rules,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	ports, err := apiserver.FreePorts(1)
	if err != nil {
		return nil, err
	}
	listen := net.JoinHostPort("127.0.0.1", ports[0])
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return nil, err
	}
	p := &Prometheus{base: "http://" + listen, log: log}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), program, "--config.file="+filepath.Join(folder, "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address="+listen)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return p, nil
}

// Close ends it. The error is what it said when it did not end well.
func (p *Prometheus) Close() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	forced := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	err := p.cmd.Wait()
	forced.Stop()
	if err != nil {
		said, _ := os.ReadFile(p.log.Name())
		err = fmt.Errorf("prometheus: %w\n%s", err, said)
	}
	return errors.Join(err, p.log.Close())
}

// Alerts returns those that are pending or firing.
func (p *Prometheus) Alerts(ctx context.Context) ([]Alert, error) {
	var data struct {
		Alerts []Alert `json:"alerts"`
	}
	return data.Alerts, p.ask(ctx, "/api/v1/alerts", &data)
}

// Query returns the labels of the series that an instant query gives.
func (p *Prometheus) Query(ctx context.Context, query string) ([]map[string]string, error) {
	var data struct {
		Result []struct {
			Metric map[string]string `json:"metric"`
		} `json:"result"`
	}
	if err := p.ask(ctx, "/api/v1/query?query="+url.QueryEscape(query), &data); err != nil {
		return nil, err
	}
	series := make([]map[string]string, len(data.Result))
	for i, r := range data.Result {
		series[i] = r.Metric
	}
	return series, nil
}

// ask decodes the data of an answer of its API.
func (p *Prometheus) ask(ctx context.Context, path string, data any) error {
	text, err := Get(ctx, p.base+path)
	if err != nil {
		return err
	}
	answer := struct {
		Status string `json:"status"`
		Data   any    `json:"data"`
	}{Data: data}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Status != "success" {
		return fmt.Errorf("%s answers %q: %w", path, strings.TrimSpace(string(text)), errors.Join(err, errors.New("no success")))
	}
	return nil
}
