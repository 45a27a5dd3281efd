package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/cert"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/metrics"
	"github.com/mountwarden/mountwarden/controllers/metrics/access"
)

const metricsPath = "/metrics"

// addMetrics serves metrics: to everybody who reaches the port, or by HTTPS to whom the API server allows to get them.
func addMetrics(ctx context.Context, mgr ctrl.Manager, kube kubernetes.Interface, cfg config.Config) error {
	handler := metrics.NewHandler(ctrlmetrics.Registry)
	if !cfg.MetricsSecure {
		return addServer(ctx, mgr, metricsEndpoint(cfg, handler, nil))
	}
	secure, watcher, err := metricsTLS(cfg.MetricsCertDir)
	if err != nil {
		return err
	}
	if watcher != nil {
		if err := mgr.Add(watcher); err != nil {
			return fmt.Errorf("watch the certificate of the metrics: %w", err)
		}
	}
	return addServer(ctx, mgr, metricsEndpoint(cfg, access.New(kube, time.Now).Guard(handler), secure))
}

func metricsEndpoint(cfg config.Config, handler http.Handler, secure *tls.Config) endpoint {
	mux := http.NewServeMux()
	mux.Handle(metricsPath, handler)
	return endpoint{name: "metrics", setting: "metricsBindAddress", address: cfg.MetricsBindAddress, handler: mux, tls: secure}
}

// metricsTLS returns how the metrics are encrypted: with the certificate of a directory, and what
// watches that for a new one, or with one that the agent signs itself where there is no directory.
func metricsTLS(dir string) (*tls.Config, *certwatcher.CertWatcher, error) {
	// HTTP/2 is left out, which a scraper has no use for and whose floods of streams have cost others dearly (CVE-2023-44487).
	secure := &tls.Config{NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	if dir == "" {
		own, err := selfSigned()
		secure.Certificates = []tls.Certificate{own}
		return secure, nil, err
	}
	// The names of a Secret of the type kubernetes.io/tls.
	watcher, err := certwatcher.New(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		return nil, nil, fmt.Errorf("metricsCertDir %q: no certificate and key in tls.crt and tls.key: %w", dir, err)
	}
	secure.GetCertificate = watcher.GetCertificate
	return secure, watcher, nil
}

// selfSigned returns a certificate that encrypts and proves nothing.
func selfSigned() (tls.Certificate, error) {
	certificate, key, err := cert.GenerateSelfSignedCertKey("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate for the metrics: %w", err)
	}
	return tls.X509KeyPair(certificate, key)
}
