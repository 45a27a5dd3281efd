package apiserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Administrator may do everything, and no request of it waits for another's.
const Administrator = "admin"

// User is somebody who may ask. The token is the name.
type User struct {
	Name  string
	Group string
}

// Options say what is started, and for whom.
type Options struct {
	Etcd, APIServer string   // the binaries
	Dir             string   // for files, which stay
	Users           []User   // beside the Administrator
	Arguments       []string // of kube-apiserver, beside those that it always gets
}

// Server is etcd and a kube-apiserver.
type Server struct {
	Config     *rest.Config // of the Administrator, without a limit of requests
	Client     kubernetes.Interface
	Kubeconfig string // path of the same as a file

	running []*exec.Cmd
	logs    []string
}

// Start returns when the API server is ready.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{}
	if err := s.start(ctx, o); err != nil {
		s.Stop()
		return nil, fmt.Errorf("start the API server: %w; logs:\n%s", err, s.tail())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, o Options) error {
	ports, err := FreePorts(3)
	if err != nil {
		return err
	}
	key, tokens := filepath.Join(o.Dir, "key.pem"), filepath.Join(o.Dir, "tokens.csv")
	if err := errors.Join(writeKey(key), os.WriteFile(tokens, tokenFile(o.Users), 0o600)); err != nil {
		return err
	}
	etcd, peers := "http://127.0.0.1:"+ports[0], "http://127.0.0.1:"+ports[1]
	err = errors.Join(
		s.run(ctx, o.Dir, o.Etcd, "--data-dir="+filepath.Join(o.Dir, "etcd"), "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
			"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers, "--unsafe-no-fsync"),
		s.run(ctx, o.Dir, o.APIServer, append([]string{
			"--etcd-servers=" + etcd, "--secure-port=" + ports[2], "--bind-address=127.0.0.1",
			"--cert-dir=" + filepath.Join(o.Dir, "certs"), "--service-account-issuer=https://apiserver.test", "--service-account-key-file=" + key,
			"--service-account-signing-key-file=" + key, "--token-auth-file=" + tokens, "--authorization-mode=RBAC",
			"--disable-admission-plugins=ServiceAccount", "--service-cluster-ip-range=10.0.0.0/24",
		}, o.Arguments...)...))
	if err != nil {
		return err
	}
	return s.connect(ctx, o.Dir, "https://127.0.0.1:"+ports[2])
}

func (s *Server) connect(ctx context.Context, dir, url string) (err error) {
	s.Config = &rest.Config{Host: url, BearerToken: Administrator, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	if s.Client, err = kubernetes.NewForConfig(s.Config); err != nil {
		return err
	}
	if s.Kubeconfig, err = writeKubeconfig(dir, url); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := s.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, nil
	})
}

// As returns the configuration of one of the users.
func (s *Server) As(user string) *rest.Config {
	config := rest.CopyConfig(s.Config)
	config.BearerToken = user
	return config
}

// run starts a program with its output in a file of dir.
func (s *Server) run(ctx context.Context, dir, binary string, args ...string) error {
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

// Stop ends both programs at once.
func (s *Server) Stop() {
	for _, cmd := range s.running {
		_ = cmd.Process.Kill() // gone already
		_ = cmd.Wait()         // was killed
	}
}

// tail is the end of the logs.
func (s *Server) tail() string {
	var b strings.Builder
	for _, name := range s.logs {
		text, err := os.ReadFile(name)
		fmt.Fprintf(&b, "%s: %v\n%s\n", name, err, text[max(0, len(text)-2000):])
	}
	return b.String()
}
