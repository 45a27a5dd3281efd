package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// token is the administrator's. The API server listens on the loopback of the machine, for as long as the run takes.
const token = "bench"

// apiServer is etcd and a kube-apiserver.
type apiServer struct {
	client     kubernetes.Interface
	kubeconfig string
	running    []*exec.Cmd
	logs       []string
}

func startAPIServer(ctx context.Context, opts options, dir string) (*apiServer, error) {
	s := &apiServer{}
	if err := s.start(ctx, opts, dir); err != nil {
		s.stop()
		return nil, fmt.Errorf("start the API server: %w; logs:\n%s", err, s.tail())
	}
	return s, nil
}

func (s *apiServer) start(ctx context.Context, opts options, dir string) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	key, tokens := filepath.Join(dir, "key.pem"), filepath.Join(dir, "tokens.csv")
	if err := errors.Join(writeKey(key), os.WriteFile(tokens, []byte(token+",admin,admin,system:masters\n"), 0o600)); err != nil {
		return err
	}
	etcd, peers := "http://127.0.0.1:"+ports[0], "http://127.0.0.1:"+ports[1]
	err = errors.Join(
		s.run(ctx, dir, opts.Etcd, "--data-dir="+filepath.Join(dir, "etcd"), "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
			"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers, "--unsafe-no-fsync"),
		s.run(ctx, dir, opts.APIServer, "--etcd-servers="+etcd, "--secure-port="+ports[2], "--bind-address=127.0.0.1",
			"--cert-dir="+filepath.Join(dir, "certs"), "--service-account-issuer=https://bench", "--service-account-key-file="+key,
			"--service-account-signing-key-file="+key, "--token-auth-file="+tokens, "--authorization-mode=RBAC",
			"--disable-admission-plugins=ServiceAccount", "--service-cluster-ip-range=10.0.0.0/24"))
	if err != nil {
		return err
	}
	url := "https://127.0.0.1:" + ports[2]
	s.client, err = kubernetes.NewForConfig(&rest.Config{
		Host: url, BearerToken: token, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	})
	if err != nil {
		return err
	}
	if s.kubeconfig, err = writeKubeconfig(dir, url); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := s.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, nil
	})
}

// run starts a program with its output in a file of dir.
func (s *apiServer) run(ctx context.Context, dir, binary string, args ...string) error {
	log, err := os.Create(filepath.Join(dir, filepath.Base(binary)+".log"))
	if err != nil {
		return err
	}
	defer log.Close() // the program has its own
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.running, s.logs = append(s.running, cmd), append(s.logs, log.Name())
	return nil
}

func (s *apiServer) stop() {
	for _, cmd := range s.running {
		_ = cmd.Process.Kill() // gone already
		_ = cmd.Wait()         // was killed
	}
}

// tail is the end of the logs.
func (s *apiServer) tail() string {
	var b strings.Builder
	for _, name := range s.logs {
		text, err := os.ReadFile(name)
		fmt.Fprintf(&b, "%s: %v\n%s\n", name, err, text[max(0, len(text)-2000):])
	}
	return b.String()
}

func writeKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return os.WriteFile(path, text, 0o600)
}

func writeKubeconfig(dir, url string) (string, error) {
	const text = `{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": %q, "insecure-skip-tls-verify": true}}],
"users": [{"name": "u", "user": {"token": %q}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}`
	path := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, fmt.Appendf(nil, text, url, token), 0o600); err != nil {
		return "", err
	}
	_, err := clientcmd.LoadFromFile(path)
	return path, err
}

// freePorts returns ports that nobody listened on a moment ago.
func freePorts(n int) (ports []string, err error) {
	var listeners []net.Listener // all at once, so that no port comes twice
	for range n {
		l, listenErr := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends at once
		if listenErr != nil {
			err = listenErr
			break
		}
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		_, port, splitErr := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
		err = errors.Join(err, splitErr, l.Close())
	}
	return ports, err
}
