package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Not parallel: it changes the agent's configuration.
func TestMetricsAreGuarded(t *testing.T) {
	s := newScene(t)
	tokens := map[string]string{"nobody": ""}
	for _, name := range []string{"reader", "stranger"} {
		_, err := s.Kubectl(s.ctx, "create", "serviceaccount", name, "-n", s.namespace)
		must(t, err)
		token, err := s.Kubectl(s.ctx, "create", "token", name, "-n", s.namespace)
		must(t, err)
		tokens[name] = strings.TrimSpace(token)
	}
	s.configure(fmt.Sprintf("metricsSecure=true,secureMetrics.readers[0].namespace=%s,secureMetrics.readers[0].name=reader", s.namespace))
	agent, err := s.Agent(s.within(patience))
	must(t, err)
	address := net.JoinHostPort(agent.Status.PodIP, "8080")

	s.becomes("a reader to get the metrics", func(ctx context.Context) (bool, string) {
		status, text := s.askMetrics(ctx, "https://"+address, tokens["reader"])
		return status == http.StatusOK && strings.Contains(text, "\nmountwarden_build_info{"), text
	})
	for who, want := range map[string]int{"stranger": http.StatusForbidden, "nobody": http.StatusUnauthorized} {
		if status, text := s.askMetrics(s.ctx, "https://"+address, tokens[who]); status != want || strings.Contains(text, "mountwarden_") {
			t.Errorf("%s gets %d, want %d: %s", who, status, want, text)
		}
	}
	if status, text := s.askMetrics(s.ctx, "http://"+address, tokens["reader"]); status == http.StatusOK {
		t.Errorf("shown without encryption: %s", text)
	}
}

// askMetrics returns the status and the text of the answer, or 0 and the error.
func (s *scene) askMetrics(ctx context.Context, server, token string) (int, string) {
	s.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // nobody has signed the agent's own
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: 10 * time.Second}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/metrics", http.NoBody)
	must(s.T, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil { // a server of HTTPS hangs up on who speaks HTTP
		return answer.StatusCode, string(text) + err.Error()
	}
	return answer.StatusCode, string(text)
}
