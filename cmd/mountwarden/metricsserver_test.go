package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
)

// certificates returns a directory with a certificate for 127.0.0.1, and a client that trusts it
// alone.
func certificates(t *testing.T) (string, *http.Client) {
	t.Helper()
	pem, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	folder, roots := t.TempDir(), x509.NewCertPool()
	for name, text := range map[string][]byte{"tls.crt": pem, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return folder, &http.Client{Transport: transport, Timeout: patience}
}

// scraper makes a ServiceAccount that may get /metrics, and returns its token.
func scraper(t *testing.T, config *rest.Config) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Name: "scraper"}
	role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "scraper"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "scraper"}},
	}
	accounts := client.CoreV1().ServiceAccounts("default")
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := accounts.CreateToken(t.Context(), "scraper", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// read returns the status, the protocol and the text of an answer, with 0 for none yet.
func read(t *testing.T, client *http.Client, url, token string) (status int, protocol, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Proto, string(body)
}

// agentGuardsMetrics has an agent show its metrics to a scraper that may get them, and to nobody
// else.
func agentGuardsMetrics(t *testing.T, env []string, config *rest.Config) {
	folder, client := certificates(t)
	token, metrics := scraper(t, config), freeAddress(t)
	p := command(t, env, append(agentArgs(t), "--metrics-bind-address", metrics, "--health-probe-bind-address", "0", "--status-bind-address", "0",
		"--metrics-secure", "--metrics-cert-dir", folder)...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	url := "https://" + metrics + "/metrics"
	var protocol, text string
	eventually(t, p, "a scraper gets the metrics", func() bool {
		var status int
		status, protocol, text = read(t, client, url, token)
		return status == http.StatusOK
	})
	if !strings.Contains(text, "\nmountwarden_pods_watched 0\n") || protocol != "HTTP/1.1" {
		t.Errorf("by %s: %s", protocol, text)
	}
	for wrong, want := range map[string]int{"": http.StatusUnauthorized, token[:len(token)-5]: http.StatusUnauthorized} {
		if status, _, text := read(t, client, url, wrong); status != want || strings.Contains(text, "mountwarden_") {
			t.Errorf("with the token %q: status %d, want %d: %s", wrong, status, want, text)
		}
	}
	if text := get(t, "http://"+metrics+"/metrics"); text != "" {
		t.Errorf("shown without encryption: %s", text)
	}
	if code := stop(t, p); code != 0 {
		t.Errorf("exit code %d after SIGTERM: %s", code, p.stderr.String())
	}
	if strings.Contains(p.stderr.String(), token[:40]) {
		t.Errorf("the log shows the token:\n%s", p.stderr.String())
	}
}

// The agent does not make a certificate of its own where it was given one that cannot be read.
func TestCertificate(t *testing.T) {
	good, _ := certificates(t)
	if secure, watcher, err := newMetricsTLS(good); err != nil || watcher == nil || secure.GetCertificate == nil {
		t.Errorf("%+v, %v, %v", secure, watcher, err)
	}
	if secure, watcher, err := newMetricsTLS(""); err != nil || watcher != nil || len(secure.Certificates) != 1 {
		t.Errorf("%+v, %v, %v", secure, watcher, err)
	}
	broken, _ := certificates(t)
	if err := os.Truncate(filepath.Join(broken, "tls.key"), 10); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{broken, t.TempDir()} {
		if _, _, err := newMetricsTLS(folder); err == nil || !strings.Contains(err.Error(), `metricsCertDir "`+folder+`"`) {
			t.Errorf("%s: %v", folder, err)
		}
	}
}
