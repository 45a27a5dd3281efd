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

// world is all that a Follower deals with but the API server, and notes what it is told.
type world struct {
	config config.Config

	mu      sync.Mutex
	ahead   time.Duration // of the machine's clock
	pending []ledger.Entry
	deaf    error // what the books answer
	closed  map[types.UID]controllers.Aftermath
	given   []types.UID // released
	up      []types.UID // whose replacement proves itself
	asked   int         // of the books
	why     probes.Stuck
	refusal error // of an abort
	aborted []string
	whys    int
	ended   []controllers.Aftermath
	took    map[controllers.Phase][]time.Duration
	events  []string // "Kind/name Reason related"
	notes   []string
	logged  []string
}

func newWorld() *world {
	w := &world{config: config.Default(), closed: map[types.UID]controllers.Aftermath{}, took: map[controllers.Phase][]time.Duration{}}
	w.config.NodeName = apitest.Node
	return w
}

func (w *world) options(client kubernetes.Interface) Options {
	log := funcr.New(func(_, args string) { w.do(func() { w.logged = append(w.logged, args) }) }, funcr.Options{})
	return Options{Client: client, Books: w, Diagnoser: w, Meter: w, Recorder: w, Config: w.config, Now: w.now, Log: log}
}

// do runs f alone.
func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) now() (t time.Time) {
	w.do(func() { t = time.Now().Add(w.ahead) })
	return t
}

// Close implements Books.
func (w *world) Close(_ context.Context, e ledger.Entry, a controllers.Aftermath) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.deaf == nil {
		w.closed[e.PodUID] = a
	}
	return w.deaf
}

// MarkUp implements Books.
func (w *world) MarkUp(_ context.Context, pod types.UID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.deaf == nil {
		w.up = append(w.up, pod)
	}
	return w.deaf
}

// Release implements Books.
func (w *world) Release(_ context.Context, pod types.UID, _ time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf == nil {
		w.given = append(w.given, pod)
	}
	return w.deaf
}

// Pending implements Books.
func (w *world) Pending(context.Context) ([]ledger.Entry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	return w.pending, w.deaf
}

// Why implements Diagnoser.
func (w *world) Why(context.Context, string) probes.Stuck {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whys++
	return w.why
}

// Abort implements Diagnoser.
func (w *world) Abort(_ context.Context, podUID, device string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = append(w.aborted, podUID+" "+device)
	return w.refusal
}

// Ended implements Meter.
func (w *world) Ended(a controllers.Aftermath) { w.do(func() { w.ended = append(w.ended, a) }) }

// Took implements Meter.
func (w *world) Took(phase controllers.Phase, d time.Duration) {
	w.do(func() { w.took[phase] = append(w.took[phase], d) })
}

// Eventf implements events.EventRecorder.
func (w *world) Eventf(regarding, related runtime.Object, eventType, reason, _, note string, args ...any) {
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

func (w *world) end(pod types.UID) (a controllers.Aftermath) {
	w.do(func() { a = w.closed[pod] })
	return a
}

// expectEvents compares all events there were, in any order of the objects they are about.
func (w *world) expectEvents(t *testing.T, want ...string) {
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

// expectNote looks for a part of the first note.
func (w *world) expectNote(t *testing.T, parts ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, part := range parts {
		if len(w.notes) == 0 || !strings.Contains(w.notes[0], part) {
			t.Errorf("no %q in %q", part, w.notes)
		}
	}
}

func (w *world) expectTook(t *testing.T, want map[controllers.Phase]int) {
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

// run starts a Follower until stop, or until the test ends; stop waits for it.
func (w *world) run(t *testing.T, client kubernetes.Interface) (f *Follower, stop func()) {
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

// line is the connection to the API server, which a test may cut.
type line struct {
	mu      sync.Mutex
	down    bool
	watches []io.Closer
	opened  int
	lists   int
	asked   []string // queries of watches
}

var errDown = errors.New("the line is down")

func (l *line) client(t *testing.T) kubernetes.Interface {
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

func (l *line) roundTrip(next http.RoundTripper, r *http.Request) (*http.Response, error) {
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

// cut ends all watches, and with down whatever comes later.
func (l *line) cut(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for _, w := range l.watches {
		_ = w.Close()
	}
	l.watches = nil
}

func (l *line) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened
}

// scene is one removal on the real API server.
type scene struct {
	*world
	t         *testing.T
	namespace string
	old       *corev1.Pod
	entry     ledger.Entry
	line      line
	client    kubernetes.Interface
}

// newScene makes the pod web-1 and removes it, as a remediation does. There is no kubelet that would end it.
func newScene(t *testing.T, change ...func(*corev1.Pod)) *scene {
	t.Helper()
	server.Require(t)
	t.Parallel()
	s := &scene{world: newWorld(), t: t, namespace: server.Namespace(t, nil)}
	s.config.FollowUpSeconds = 300
	pod := apitest.NewPod(s.namespace, "web-1")
	pod.OwnerReferences[0].Name = "web"
	pod.Labels = map[string]string{"pod-template-hash": "abc"}
	for _, c := range change {
		c(pod)
	}
	s.old = server.Run(t, pod)
	s.client = s.line.client(t)
	return s
}

// remove removes the pod and returns its entry.
func (s *scene) remove() ledger.Entry {
	s.t.Helper()
	now := s.now()
	s.entry = ledger.Entry{
		At: now, Node: apitest.Node, Namespace: s.namespace, Pod: s.old.Name, PodUID: s.old.UID, Owner: ledger.OwnerOf(s.old),
		Cause: probes.CauseDisconnected, Since: now.Add(-1500 * time.Millisecond), Selector: ledger.SelectorFor(s.old),
	}
	server.Delete(s.t, s.old)
	return s.entry
}

// successor makes a pod of the same owner.
func (s *scene) successor(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	s.t.Helper()
	pod := apitest.NewPod(s.namespace, name)
	pod.OwnerReferences, pod.Labels = s.old.OwnerReferences, s.old.Labels
	for _, c := range change {
		c(pod)
	}
	return server.Run(s.t, pod)
}

// tell writes the condition that the agent of the pod's node does.
func (s *scene) tell(pod *corev1.Pod, status corev1.ConditionStatus, message string) {
	s.t.Helper()
	server.ChangeStatus(s.t, pod, func(st *corev1.PodStatus) {
		st.Conditions = append(st.Conditions, corev1.PodCondition{
			Type: controllers.ConditionMountsHealthy, Status: status, Message: message, LastTransitionTime: metav1.Now(),
		})
	})
}

// expectEnd waits for the end in the books, and for the counter, which comes after all else that tells of it.
func (s *scene) expectEnd(want controllers.Aftermath) {
	s.t.Helper()
	apitest.Eventually(s.t, "the removal is closed", func() bool { return s.end(s.entry.PodUID) != "" })
	apitest.Eventually(s.t, "the end is counted", func() (counted bool) {
		s.do(func() { counted = len(s.ended) > 0 })
		return counted
	})
	s.do(func() {
		if s.closed[s.entry.PodUID] != want || len(s.ended) != 1 || s.ended[0] != want {
			s.t.Errorf("closed as %v, counted as %v, want %s", s.closed, s.ended, want)
		}
	})
}
