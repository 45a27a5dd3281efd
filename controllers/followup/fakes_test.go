package followup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/probes"
)

var server apitest.Server

func TestMain(m *testing.M) { server.Main(m) }

// fakeParts is everything that a Follower uses except the API server. It records all calls.
type fakeParts struct {
	config config.Config

	mu          sync.Mutex
	ahead       time.Duration // of the machine's clock
	pending     []ledger.Entry
	ledgerErr   error // the error that the ledger returns
	closed      map[types.UID]controllers.Aftermath
	released    []types.UID
	up          []types.UID // marked up
	ledgerCalls int
	why         probes.Stuck
	refusal     error // of an abort
	aborted     []string
	whys        int
	ended       []controllers.Aftermath
	took        map[controllers.Phase][]time.Duration
	events      []string // "Kind/name Reason related"
	notes       []string
	logged      []string
}

func newFakeParts() *fakeParts {
	w := &fakeParts{config: config.Default(), closed: map[types.UID]controllers.Aftermath{}, took: map[controllers.Phase][]time.Duration{}}
	w.config.NodeName = apitest.Node
	return w
}

func (w *fakeParts) options(client kubernetes.Interface) Options {
	log := funcr.New(func(_, args string) { w.withLock(func() { w.logged = append(w.logged, args) }) }, funcr.Options{})
	return Options{Client: client, Ledger: w, Diagnoser: w, Meter: w, Recorder: w, Config: w.config, Now: w.now, Log: log}
}

// withLock runs f alone.
func (w *fakeParts) withLock(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *fakeParts) now() (t time.Time) {
	w.withLock(func() { t = time.Now().Add(w.ahead) })
	return t
}

// Close implements Ledger.
func (w *fakeParts) Close(_ context.Context, e ledger.Entry, a controllers.Aftermath) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ledgerCalls++
	if w.ledgerErr == nil {
		w.closed[e.PodUID] = a
	}
	return w.ledgerErr
}

// MarkUp implements Ledger.
func (w *fakeParts) MarkUp(_ context.Context, pod types.UID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ledgerCalls++
	if w.ledgerErr == nil {
		w.up = append(w.up, pod)
	}
	return w.ledgerErr
}

// Release implements Ledger.
func (w *fakeParts) Release(_ context.Context, pod types.UID, _ time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ledgerErr == nil {
		w.released = append(w.released, pod)
	}
	return w.ledgerErr
}

// Pending implements Ledger.
func (w *fakeParts) Pending(context.Context) ([]ledger.Entry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ledgerCalls++
	return w.pending, w.ledgerErr
}

// Why implements Diagnoser.
func (w *fakeParts) Why(context.Context, string) probes.Stuck {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whys++
	return w.why
}

// Abort implements Diagnoser.
func (w *fakeParts) Abort(_ context.Context, podUID, device string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = append(w.aborted, podUID+" "+device)
	return w.refusal
}

// Ended implements Meter.
func (w *fakeParts) Ended(a controllers.Aftermath) {
	w.withLock(func() { w.ended = append(w.ended, a) })
}

// Took implements Meter.
func (w *fakeParts) Took(phase controllers.Phase, d time.Duration) {
	w.withLock(func() { w.took[phase] = append(w.took[phase], d) })
}

// Eventf implements events.EventRecorder.
func (w *fakeParts) Eventf(regarding, related runtime.Object, eventType, reason, _, note string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf("%s %s %s %s", eventType, reason, name(regarding), name(related)))
	w.notes = append(w.notes, fmt.Sprintf(note, args...))
}

func name(o runtime.Object) string {
	ref, ok := o.(*corev1.ObjectReference)
	if !ok || ref == nil {
		return "-"
	}
	return ref.Kind + "/" + ref.Name
}

func (w *fakeParts) closedAs(pod types.UID) (a controllers.Aftermath) {
	w.withLock(func() { a = w.closed[pod] })
	return a
}

// expectEvents compares all events there were, in any order of the objects they are about.
func (w *fakeParts) expectEvents(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := slices.Sorted(slices.Values(w.events))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, note := range w.notes {
		if len(note) > text.MaxNote || note == "" || strings.ContainsFunc(note, func(r rune) bool { return r < ' ' }) {
			t.Errorf("note: %q", note)
		}
	}
}

// expectNote requires each part to be in the first note.
func (w *fakeParts) expectNote(t *testing.T, parts ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, part := range parts {
		if len(w.notes) == 0 || !strings.Contains(w.notes[0], part) {
			t.Errorf("no %q in %q", part, w.notes)
		}
	}
}

func (w *fakeParts) expectTook(t *testing.T, want map[controllers.Phase]int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, phase := range []controllers.Phase{controllers.PhaseAct, controllers.PhaseTerminate, controllers.PhaseHeal, controllers.PhaseTotal} {
		if len(w.took[phase]) != want[phase] {
			t.Errorf("%s took %v, want %d of it", phase, w.took[phase], want[phase])
		}
		for _, d := range w.took[phase] {
			if d < 0 || d > time.Hour {
				t.Errorf("%s took %s", phase, d)
			}
		}
	}
}

// startFollower starts a Follower until stop, or until the test ends; stop waits for it.
func (w *fakeParts) startFollower(t *testing.T, client kubernetes.Interface) (f *Follower, stop func()) {
	t.Helper()
	f = New(w.options(client))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the follower ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return f, stop
}

// cuttableTransport is the connection to the API server, which a test may cut.
type cuttableTransport struct {
	mu      sync.Mutex
	down    bool
	watches []io.Closer
	opened  int
	lists   int
	asked   []string // queries of watches
}

var errDown = errors.New("the line is down")

func (l *cuttableTransport) client(t *testing.T) kubernetes.Interface {
	t.Helper()
	cfg := rest.CopyConfig(server.Config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { return l.roundTrip(next, r) })
	})
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (l *cuttableTransport) roundTrip(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	down := l.down
	l.mu.Unlock()
	if down {
		return nil, errDown
	}
	answer, err := next.RoundTrip(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil || r.Method != http.MethodGet:
	case r.URL.Query().Get("watch") != "":
		l.opened++
		l.watches = append(l.watches, answer.Body)
		l.asked = append(l.asked, r.URL.RawQuery)
	case strings.HasSuffix(r.URL.Path, "/pods"):
		l.lists++
	}
	return answer, err
}

// cutWatches ends all watches. With down, every later request fails too.
func (l *cuttableTransport) cutWatches(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for _, w := range l.watches {
		_ = w.Close()
	}
	l.watches = nil
}

func (l *cuttableTransport) countOpened() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened
}

// apiScenario is one eviction on the real API server.
type apiScenario struct {
	*fakeParts
	t         *testing.T
	namespace string
	old       *corev1.Pod
	entry     ledger.Entry
	transport cuttableTransport
	client    kubernetes.Interface
}

// newAPIScenario creates the pod web-1, which deletePod deletes as a remediation does. No kubelet
// runs that would end it.
func newAPIScenario(t *testing.T, change ...func(*corev1.Pod)) *apiScenario {
	t.Helper()
	server.Require(t)
	t.Parallel()
	s := &apiScenario{fakeParts: newFakeParts(), t: t, namespace: server.Namespace(t, nil)}
	s.config.FollowUpSeconds = 300
	pod := apitest.NewPod(s.namespace, "web-1")
	pod.OwnerReferences[0].Name = "web"
	pod.Labels = map[string]string{"pod-template-hash": "abc"}
	for _, c := range change {
		c(pod)
	}
	s.old = server.Run(t, pod)
	s.client = s.transport.client(t)
	return s
}

// deletePod deletes the pod and returns its entry.
func (s *apiScenario) deletePod() ledger.Entry {
	s.t.Helper()
	now := s.now()
	s.entry = ledger.Entry{
		At: now, Node: apitest.Node, Namespace: s.namespace, Pod: s.old.Name, PodUID: s.old.UID, Owner: ledger.OwnerOf(s.old),
		Cause: probes.CauseDisconnected, Since: now.Add(-1500 * time.Millisecond), Selector: ledger.SelectorFor(s.old),
	}
	server.Delete(s.t, s.old)
	return s.entry
}

// createReplacement creates a pod of the same owner.
func (s *apiScenario) createReplacement(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	s.t.Helper()
	pod := apitest.NewPod(s.namespace, name)
	pod.OwnerReferences, pod.Labels = s.old.OwnerReferences, s.old.Labels
	for _, c := range change {
		c(pod)
	}
	return server.Run(s.t, pod)
}

// setMountsCondition writes the condition as the agent of the pod's node does.
func (s *apiScenario) setMountsCondition(pod *corev1.Pod, status corev1.ConditionStatus, message string) {
	s.t.Helper()
	server.ChangeStatus(s.t, pod, func(st *corev1.PodStatus) {
		st.Conditions = append(st.Conditions, corev1.PodCondition{
			Type: controllers.ConditionMountsHealthy, Status: status, Message: message, LastTransitionTime: metav1.Now(),
		})
	})
}

// expectEnd waits for the end in the ledger, and for the counter, which is the last to report it.
func (s *apiScenario) expectEnd(want controllers.Aftermath) {
	s.t.Helper()
	apitest.Eventually(s.t, "the removal is closed", func() bool { return s.closedAs(s.entry.PodUID) != "" })
	apitest.Eventually(s.t, "the end is counted", func() (counted bool) {
		s.withLock(func() { counted = len(s.ended) > 0 })
		return counted
	})
	s.withLock(func() {
		if s.closed[s.entry.PodUID] != want || len(s.ended) != 1 || s.ended[0] != want {
			s.t.Errorf("closed as %v, counted as %v, want %s", s.closed, s.ended, want)
		}
	})
}
