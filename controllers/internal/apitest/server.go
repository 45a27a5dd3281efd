package apitest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// assetsVariable names the directory of etcd and kube-apiserver.
const assetsVariable = "KUBEBUILDER_ASSETS"

// Server is one API server for all the tests of a package.
type Server struct {
	Config *rest.Config         // of an administrator, without a limit of requests
	Client kubernetes.Interface // of Config

	env *envtest.Environment
}

// Main runs the tests of a package with s started. TestMain calls it. Without KUBEBUILDER_ASSETS it
// starts nothing, and the tests that call Require are skipped.
func (s *Server) Main(m *testing.M) {
	code := 1
	if err := s.startServer(); err != nil {
		fmt.Fprintln(os.Stderr, "apitest: start the API server:", err)
	} else {
		code = m.Run()
	}
	if s.env != nil {
		if err := s.env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "apitest: stop the API server:", err)
			code = 1
		}
	}
	// A watch of metadata that is stopped while it sends an event never ends: the send of
	// client-go's filter cannot be cancelled.
	metadata := goleak.IgnoreTopFunction("k8s.io/apimachinery/pkg/watch.(*filteredWatch).loop")
	if err := goleak.Find(metadata); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "apitest: the tests left goroutines behind:", err)
		code = 1
	}
	os.Exit(code)
}

func (s *Server) startServer() error {
	if os.Getenv(assetsVariable) == "" {
		return nil
	}
	s.env = &envtest.Environment{ControlPlaneStartTimeout: 3 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	config, err := s.env.Start()
	if err != nil {
		return err
	}
	config.QPS = -1
	s.Config = config
	s.Client, err = kubernetes.NewForConfig(config)
	return err
}

// Require skips the test when there is no API server.
func (s *Server) Require(t testing.TB) {
	t.Helper()
	if s.env == nil {
		t.Skipf("needs a real API server: set %s to the folder of etcd and kube-apiserver, as make test does", assetsVariable)
	}
}

// User returns the configuration of a new user without any rights.
func (s *Server) User(t testing.TB, name string) *rest.Config {
	t.Helper()
	user, err := s.env.AddUser(envtest.User{Name: name}, s.Config)
	if err != nil {
		t.Fatal(err)
	}
	return user.Config()
}

// Namespace creates a namespace named after the test.
func (s *Server) Namespace(t testing.TB, labels map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: makeNamePrefix(t.Name()), Labels: labels}}
	ns, err := s.Client.CoreV1().Namespaces().Create(Context(t), ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// makeNamePrefix makes the start of an object's name from a test's name.
func makeNamePrefix(test string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(test))
	return strings.Trim(name[:min(len(name), 40)], "-") + "-"
}

// Context ends with the test, and at the latest after a minute.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Eventually waits until condition holds and fails the test when it does not within half a minute.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("not within 30 s: %s", what)
		case <-again.C:
		}
	}
}
