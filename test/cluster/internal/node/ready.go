package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// check is what a component's Ready is.
type check = func(context.Context) error

// all is ready when every check is.
func all(checks ...check) check {
	return func(ctx context.Context) error {
		for _, c := range checks {
			if err := c(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// dial is ready when a unix socket takes a connection.
func dial(socket string) check {
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// get is ready when url answers 200.
func get(url string) check {
	return func(ctx context.Context) error {
		_, err := fetch(ctx, &http.Transport{DisableKeepAlives: true}, url)
		return err
	}
}

// getTLS is get, as the administrator.
func (l Layout) getTLS(url string) check {
	return func(ctx context.Context) error {
		_, err := l.fetchTLS(ctx, url)
		return err
	}
}

// askAPI is ready when kube-apiserver answers 200 at path.
func (l Layout) askAPI(path string) check { return l.getTLS(server + path) }

// kubeletReady asks the kubelet itself and what the API says about its node, which alone would still
// be true for a while after the kubelet has died.
func (l Layout) kubeletReady() check {
	return func(ctx context.Context) error {
		if err := get("http://127.0.0.1:10248/healthz")(ctx); err != nil {
			return err
		}
		body, err := l.fetchTLS(ctx, server+"/api/v1/nodes/"+Name)
		if err != nil {
			return err
		}
		return nodeReady(body)
	}
}

// nodeReady reads a Node object and says why it is not Ready.
func nodeReady(body []byte) error {
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(body, &node); err != nil {
		return fmt.Errorf("read node %s: %w", Name, err)
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" && c.Status != "True" {
			return fmt.Errorf("node %s is not Ready: %s", Name, c.Message)
		}
		if c.Type == "Ready" {
			return nil
		}
	}
	return fmt.Errorf("node %s has no Ready condition yet", Name)
}

func (l Layout) fetchTLS(ctx context.Context, url string) ([]byte, error) {
	config, err := l.adminTLS()
	if err != nil {
		return nil, err
	}
	return fetch(ctx, &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, url)
}

func (l Layout) adminTLS() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(l.pki("admin.crt"), l.pki("admin.key"))
	if err != nil {
		return nil, fmt.Errorf("read the administrator's certificate: %w", err)
	}
	ca, err := os.ReadFile(l.pki("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

func fetch(ctx context.Context, transport *http.Transport, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: %s", url, response.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}
