package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/metrics/access"
)

// metricsServer returns how metrics are served: to everybody who reaches the port, or by HTTPS to whom the API server allows to get them.
func metricsServer(kube kubernetes.Interface, cfg config.Config) (metricsserver.Options, error) {
	options := metricsserver.Options{BindAddress: cfg.MetricsBindAddress}
	if !cfg.MetricsSecure {
		return options, nil
	}
	if err := certificate(cfg.MetricsCertDir); err != nil {
		return options, err
	}
	gate := access.New(kube, time.Now)
	options.SecureServing, options.CertDir = true, cfg.MetricsCertDir
	options.TLSOpts = []func(*tls.Config){modern}
	options.FilterProvider = func(*rest.Config, *http.Client) (metricsserver.Filter, error) {
		return func(_ logr.Logger, next http.Handler) (http.Handler, error) { return gate.Guard(next), nil }, nil
	}
	return options, nil
}

// certificate finds a folder without a good certificate before the server would make one of its own instead. With "" it shall.
func certificate(folder string) error {
	if folder == "" {
		return nil
	}
	// The names of a Secret of the type kubernetes.io/tls, which are the server's too.
	if _, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")); err != nil {
		return fmt.Errorf("metricsCertDir %q: no certificate and key in tls.crt and tls.key: %w", folder, err)
	}
	return nil
}

// modern leaves HTTP/2 out, which a scraper has no use for and whose floods of streams have cost others dearly (CVE-2023-44487).
func modern(c *tls.Config) { c.NextProtos, c.MinVersion = []string{"http/1.1"}, tls.VersionTLS12 }
