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

// meanwhile has something done between the look at the live object and the first request that would remove it.
func (l *lab) meanwhile(do func()) {
	done := false
	l.traffic.Before = func(*http.Request) (*http.Response, error) {
		if !done {
			done = true
			do()
		}
		return nil, nil
	}
}

func (l *lab) replace() *corev1.Pod {
	server.Vanish(l.t, l.pod)
	return server.Run(l.t, apitest.NewPod(l.pod.Namespace, l.pod.Name))
}

func (l *lab) requireUnharmed(pod *corev1.Pod) {
	l.t.Helper()
	if live := server.Get(l.t, pod); live.UID != pod.UID || live.DeletionTimestamp != nil {
		l.t.Errorf("the successor was hit: %+v", live.ObjectMeta)
	}
}

func TestReplacedBetweenLookAndEviction(t *testing.T) {
	l := newLab(t)
	var successor *corev1.Pod
	l.meanwhile(func() { successor = l.replace() })
	l.requireResult(l.act(), controllers.OutcomeGone, config.ActionEvict, controllers.HeldNone)
	l.requireRemovals("evict")
	l.requireUnharmed(successor)
}

func TestGoneBetweenLookAndAct(t *testing.T) {
	for action, removal := range map[config.Action]string{config.ActionEvict: "evict", config.ActionDelete: "delete"} {
		t.Run(removal, func(t *testing.T) {
			l := newLab(t, annotate(config.AnnotationAction, string(action)))
			l.meanwhile(func() { server.Vanish(t, l.pod) })
			l.requireResult(l.act(), controllers.OutcomeGone, action, controllers.HeldNone)
			l.requireRemovals(removal)
		})
	}
}

func TestReplacedBetweenLookAndDeletion(t *testing.T) {
	l := newLab(t, annotate(config.AnnotationAction, "Delete"))
	var successor *corev1.Pod
	l.meanwhile(func() { successor = l.replace() })
	l.requireResult(l.act(), controllers.OutcomeFailed, config.ActionDelete, controllers.HeldAPIError)
	l.requireUnharmed(successor)
	l.requireResult(l.act(), controllers.OutcomeGone, config.ActionDelete, controllers.HeldNone)
	l.requireUnharmed(successor)
	l.requireRemovals("delete")
}

// A deletion is for the very object that passed the gates; for any other they are asked again.
func TestChangedBetweenLookAndDeletion(t *testing.T) {
	l := newLab(t, annotate(config.AnnotationAction, "Delete"))
	l.meanwhile(func() { server.Change(t, l.pod, annotate("example.com/touched", "yes")) })
	l.requireResult(l.act(), controllers.OutcomeFailed, config.ActionDelete, controllers.HeldAPIError)
	l.requireUnharmed(l.pod)
	l.requireResult(l.act(), controllers.OutcomeDeleted, config.ActionDelete, controllers.HeldNone)
	l.requireRemovals("delete", "delete")
	l.requireTerminating(30)
}

func TestOptedOutBetweenLookAndDeletion(t *testing.T) {
	l := newLab(t, annotate(config.AnnotationAction, "Delete"))
	l.meanwhile(func() { server.Change(t, l.pod, annotate(config.AnnotationWatch, "false")) })
	l.requireResult(l.act(), controllers.OutcomeFailed, config.ActionDelete, controllers.HeldAPIError)
	l.requireResult(l.act(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldOptedOut)
	l.requireRemovals("delete")
	l.requireUnharmed(l.pod)
}

func TestServerThatRefuses(t *testing.T) {
	l := newLab(t)
	refused := server.User(t, "nobody")
	got := l.remediator(refused).Remediate(apitest.Context(t), l.request)
	l.requireResult(got, controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
	if !strings.Contains(got.Message, "forbidden") {
		t.Errorf("the message does not say that it is forbidden: %s", got.Message)
	}
	l.requireUntouched()
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
	l := newLab(t)
	began := time.Now()
	got := l.remediator(hungServer(t)).Remediate(t.Context(), l.request)
	if took := time.Since(began); took > deadline {
		t.Errorf("took %s", took)
	}
	l.requireResult(got, controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
	if !strings.Contains(got.Message, "no answer within") {
		t.Errorf("the message does not say that there was no answer: %s", got.Message)
	}
	l.requireUntouched()
}

func TestServerThatIsAway(t *testing.T) {
	l := newLab(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	away := &rest.Config{Host: "http://" + listener.Addr().String()}
	got := l.remediator(away).Remediate(t.Context(), l.request)
	l.requireResult(got, controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
	l.requireUntouched()
}

// The look was answered, the removal is not: nobody knows whether it was done, so it is asked again.
func TestServerThatHangsInTheAct(t *testing.T) {
	for action, removal := range map[config.Action]string{config.ActionEvict: "evict", config.ActionDelete: "delete"} {
		t.Run(removal, func(t *testing.T) {
			l := newLab(t, annotate(config.AnnotationAction, string(action)))
			l.traffic.Before = func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			began := time.Now()
			l.requireResult(l.act(), controllers.OutcomeFailed, action, controllers.HeldAPIError)
			if took := time.Since(began); took > deadline {
				t.Errorf("took %s", took)
			}
			l.requireRemovals(removal)
			l.requireUnharmed(l.pod)
			if len(l.world.followed) > 0 || l.world.recalled != 1 {
				t.Errorf("follows %v as removed, and has the ledger read %d times, want once", l.world.followed, l.world.recalled)
			}
		})
	}
}

// A server that is read from, and refuses every removal: it is asked ever less often, and each time it is read from the ledger what may have been done.
func TestRemovalsThatFailAreAskedForEverLessOften(t *testing.T) {
	l := newLab(t)
	l.traffic.Before = func(r *http.Request) (*http.Response, error) {
		body := `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Internal error occurred: failed calling webhook","reason":"InternalError","code":500}`
		header := http.Header{"Content-Type": {"application/json"}}
		return &http.Response{StatusCode: http.StatusInternalServerError, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	r := l.remediator(server.Config)
	for n := 1; l.later < 2*time.Minute; n++ {
		got := r.Remediate(apitest.Context(t), l.request)
		l.requireResult(got, controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
		if l.later += got.RetryAfter; n > 20 {
			t.Fatalf("asked %d times in %s", n, l.later)
		}
		if l.world.recalled != n || len(l.world.followed) > 0 {
			t.Fatalf("the ledger was read %d times after %d tries; followed as removed are %v", l.world.recalled, n, l.world.followed)
		}
	}
	l.requireUnharmed(l.pod)
}
