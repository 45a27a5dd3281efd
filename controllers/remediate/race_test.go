package remediate_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
)

// beforeRemoval calls do between the read of the live object and the first request that would
// remove it.
func (s *scenario) beforeRemoval(do func()) {
	done := false
	s.traffic.Before = func(*http.Request) (*http.Response, error) {
		if !done {
			done = true
			do()
		}
		return nil, nil
	}
}

func (s *scenario) replacePod() *corev1.Pod {
	server.Vanish(s.t, s.pod)
	return server.Run(s.t, apitest.NewPod(s.pod.Namespace, s.pod.Name))
}

func (s *scenario) requireUnharmed(pod *corev1.Pod) {
	s.t.Helper()
	if live := server.Get(s.t, pod); live.UID != pod.UID || live.DeletionTimestamp != nil {
		s.t.Errorf("the successor was hit: %+v", live.ObjectMeta)
	}
}

func TestReplacedBetweenReadAndEviction(t *testing.T) {
	s := newScenario(t)
	var successor *corev1.Pod
	s.beforeRemoval(func() { successor = s.replacePod() })
	s.requireResult(s.remediate(), controllers.OutcomeGone, config.ActionEvict, controllers.HeldNone)
	s.requireRemovals("evict")
	s.requireUnharmed(successor)
}

func TestGoneBetweenReadAndEviction(t *testing.T) {
	for action, removal := range map[config.Action]string{config.ActionEvict: "evict", config.ActionDelete: "delete"} {
		t.Run(removal, func(t *testing.T) {
			s := newScenario(t, annotate(config.AnnotationAction, string(action)))
			s.beforeRemoval(func() { server.Vanish(t, s.pod) })
			s.requireResult(s.remediate(), controllers.OutcomeGone, action, controllers.HeldNone)
			s.requireRemovals(removal)
		})
	}
}

func TestReplacedBetweenReadAndDeletion(t *testing.T) {
	s := newScenario(t, annotate(config.AnnotationAction, "Delete"))
	var successor *corev1.Pod
	s.beforeRemoval(func() { successor = s.replacePod() })
	s.requireResult(s.remediate(), controllers.OutcomeFailed, config.ActionDelete, controllers.HeldAPIError)
	s.requireUnharmed(successor)
	s.requireResult(s.remediate(), controllers.OutcomeGone, config.ActionDelete, controllers.HeldNone)
	s.requireUnharmed(successor)
	s.requireRemovals("delete")
}

// A deletion is for the very object that passed the gates; any other must pass them again.
func TestChangedBetweenReadAndDeletion(t *testing.T) {
	s := newScenario(t, annotate(config.AnnotationAction, "Delete"))
	s.beforeRemoval(func() { server.Change(t, s.pod, annotate("example.com/touched", "yes")) })
	s.requireResult(s.remediate(), controllers.OutcomeFailed, config.ActionDelete, controllers.HeldAPIError)
	s.requireUnharmed(s.pod)
	s.requireResult(s.remediate(), controllers.OutcomeDeleted, config.ActionDelete, controllers.HeldNone)
	s.requireRemovals("delete", "delete")
	s.requireTerminating(30)
}

func TestOptedOutBetweenReadAndDeletion(t *testing.T) {
	s := newScenario(t, annotate(config.AnnotationAction, "Delete"))
	s.beforeRemoval(func() { server.Change(t, s.pod, annotate(config.AnnotationWatch, "false")) })
	s.requireResult(s.remediate(), controllers.OutcomeFailed, config.ActionDelete, controllers.HeldAPIError)
	s.requireResult(s.remediate(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldOptedOut)
	s.requireRemovals("delete")
	s.requireUnharmed(s.pod)
}

func TestServerThatRefuses(t *testing.T) {
	s := newScenario(t)
	refused := server.User(t, "nobody")
	got := s.newRemediator(refused).Remediate(apitest.Context(t), s.request)
	s.requireResult(got, controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
	if !strings.Contains(got.Message, "forbidden") {
		t.Errorf("the message does not say that it is forbidden: %s", got.Message)
	}
	s.requireUntouched()
}

// deadline is generous: a call has 5 s.
const deadline = 20 * time.Second

// hungServer accepts connections and never answers.
func hungServer(t *testing.T) *rest.Config {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var held []net.Conn
		for {
			c, err := listener.Accept()
			if err != nil {
				break
			}
			held = append(held, c)
		}
		for _, c := range held {
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return &rest.Config{Host: "http://" + listener.Addr().String()}
}

func TestServerThatNeverAnswers(t *testing.T) {
	s := newScenario(t)
	began := time.Now()
	got := s.newRemediator(hungServer(t)).Remediate(t.Context(), s.request)
	if took := time.Since(began); took > deadline {
		t.Errorf("took %s", took)
	}
	s.requireResult(got, controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
	if !strings.Contains(got.Message, "no answer within") {
		t.Errorf("the message does not say that there was no answer: %s", got.Message)
	}
	s.requireUntouched()
}

func TestUnreachableServer(t *testing.T) {
	s := newScenario(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	away := &rest.Config{Host: "http://" + listener.Addr().String()}
	got := s.newRemediator(away).Remediate(t.Context(), s.request)
	s.requireResult(got, controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
	s.requireUntouched()
}

// The read was answered, the eviction is not. It is not known whether it was done, so it is
// requested again.
func TestServerThatHangsAtTheEviction(t *testing.T) {
	for action, removal := range map[config.Action]string{config.ActionEvict: "evict", config.ActionDelete: "delete"} {
		t.Run(removal, func(t *testing.T) {
			s := newScenario(t, annotate(config.AnnotationAction, string(action)))
			s.traffic.Before = func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			began := time.Now()
			s.requireResult(s.remediate(), controllers.OutcomeFailed, action, controllers.HeldAPIError)
			if took := time.Since(began); took > deadline {
				t.Errorf("took %s", took)
			}
			s.requireRemovals(removal)
			s.requireUnharmed(s.pod)
			if len(s.fakes.followed) > 0 || s.fakes.recalled != 1 {
				t.Errorf("follows %v as removed, and has the ledger read %d times, want once", s.fakes.followed, s.fakes.recalled)
			}
		})
	}
}

// A server that answers reads and fails every eviction is asked less and less often. Each time,
// what may have been done is read from the ledger.
func TestRetriesSlowDownForFailedRemovals(t *testing.T) {
	s := newScenario(t)
	s.traffic.Before = func(r *http.Request) (*http.Response, error) {
		body := `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Internal error occurred: failed calling webhook","reason":"InternalError","code":500}`
		header := http.Header{"Content-Type": {"application/json"}}
		return &http.Response{StatusCode: http.StatusInternalServerError, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	r := s.newRemediator(server.Config)
	for n := 1; s.elapsed < 2*time.Minute; n++ {
		got := r.Remediate(apitest.Context(t), s.request)
		s.requireResult(got, controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
		if s.elapsed += got.RetryAfter; n > 20 {
			t.Fatalf("asked %d times in %s", n, s.elapsed)
		}
		if s.fakes.recalled != n || len(s.fakes.followed) > 0 {
			t.Fatalf("the ledger was read %d times after %d tries; followed as removed are %v", s.fakes.recalled, n, s.fakes.followed)
		}
	}
	s.requireUnharmed(s.pod)
}
