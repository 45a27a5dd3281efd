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

// addMetricsServer serves metrics: over HTTP to everybody who reaches the port, or over HTTPS to
// those whom the API server allows to get them.
func addMetricsServer(ctx context.Context, mgr ctrl.Manager, kube kubernetes.Interface, cfg config.Config) error {
	handler := metrics.NewHandler(ctrlmetrics.Registry)
	if !cfg.MetricsSecure {
		return addServer(ctx, mgr, newMetricsEndpoint(cfg, handler, nil))
	}
	secure, watcher, err := newMetricsTLS(cfg.MetricsCertDir)
	if err != nil {
		return err
	}
	if watcher != nil {
		if err := mgr.Add(watcher); err != nil {
			return fmt.Errorf("watch the certificate of the metrics: %w", err)
		}
	}
	return addServer(ctx, mgr, newMetricsEndpoint(cfg, access.New(kube, time.Now).Guard(handler), secure))
}

func newMetricsEndpoint(cfg config.Config, handler http.Handler, secure *tls.Config) endpoint {
	mux := http.NewServeMux()
	mux.Handle(metricsPath, handler)
	return endpoint{name: "metrics", setting: "metricsBindAddress", address: cfg.MetricsBindAddress, handler: mux, tls: secure}
}

// newMetricsTLS returns the TLS configuration of the metrics. With a directory it uses the
// certificate there, and also returns what watches it for a new one. Without one the agent signs a
// certificate itself.
func newMetricsTLS(dir string) (*tls.Config, *certwatcher.CertWatcher, error) {
	// No HTTP/2: a scraper does not need it, and a client could flood it with streams
	// (CVE-2023-44487).
	secure := &tls.Config{NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	if dir == "" {
		own, err := newSelfSignedCert()
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

// newSelfSignedCert returns a certificate that encrypts and proves nothing.
func newSelfSignedCert() (tls.Certificate, error) {
	certificate, key, err := cert.GenerateSelfSignedCertKey("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate for the metrics: %w", err)
	}
	return tls.X509KeyPair(certificate, key)
}
