package observer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/test/internal/apiserver"
	"github.com/mountwarden/mountwarden/test/storm/internal/observer"
)

// assets names the folder of etcd and kube-apiserver.
const assets = "KUBEBUILDER_ASSETS"

const (
	own      = observer.AgentPrefix + "node-1" // the agent of the node that pods are on
	other    = observer.AgentPrefix + "node-2"
	stranger = "stranger"
)

// server is one API server for all tests.
var server struct {
	*apiserver.Server
	audit string
	used  atomic.Int32 // namespaces
}

func TestMain(m *testing.M) { os.Exit(withServer(m)) }

func withServer(m *testing.M) int {
	if os.Getenv(assets) == "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "mountwarden-observer-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	policy := filepath.Join(dir, "policy.json")
	server.audit = filepath.Join(dir, "audit.log")
	err = errors.Join(os.WriteFile(policy, observer.Policy(apiserver.Administrator), 0o600), os.WriteFile(server.audit, nil, 0o600))
	if err == nil {
		server.Server, err = apiserver.Start(context.Background(), apiserver.Options{
			Etcd: filepath.Join(os.Getenv(assets), "etcd"), APIServer: filepath.Join(os.Getenv(assets), "kube-apiserver"), Dir: dir,
			Users:     []apiserver.User{{Name: own, Group: "agents"}, {Name: other, Group: "agents"}, {Name: stranger, Group: "agents"}},
			Arguments: []string{"--audit-policy-file=" + policy, "--audit-log-path=" + server.audit},
		})
	}
	if err == nil {
		defer server.Stop()
		err = permit()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func permit() error {
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "agents"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "agents"}},
	}
	_, err := server.Client.RbacV1().ClusterRoleBindings().Create(context.Background(), binding, metav1.CreateOptions{})
	return err
}

// lab is a namespace that is observed.
type lab struct {
	*testing.T
	ns       string
	observer *observer.Observer
}

// limits are wide, but for what a test narrows down.
func limits() observer.Limits {
	return observer.Limits{Window: time.Hour, Node: 100, Namespace: 100, Cluster: 100, FollowUp: time.Hour, ToldWithin: time.Hour}
}

func newLab(t *testing.T, l observer.Limits) *lab {
	t.Helper()
	if server.Server == nil {
		t.Skipf("needs a real API server: set %s to the folder of etcd and kube-apiserver", assets)
	}
	ns := fmt.Sprintf("observed-%d", server.used.Add(1))
	if _, err := server.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	o := observer.New(observer.Options{Client: server.Client, Audit: server.audit, Namespaces: []string{ns}, Limits: l})
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- o.Run(ctx, ready) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-ready
	return &lab{t, ns, o}
}

// run makes a pod that has opted in, is broken and runs on node-1, unless change says otherwise.
func (l *lab) run(name string, change func(*corev1.Pod)) *corev1.Pod {
	l.Helper()
	yes, grace := true, int64(30)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: l.ns, Name: name, Annotations: map[string]string{config.AnnotationWatch: "true", observer.AnnotationFault: "Disconnected"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name, UID: types.UID("owner-of-" + name), Controller: &yes}},
		},
		Spec: corev1.PodSpec{NodeName: "node-1", TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	p.Status.Phase = corev1.PodRunning
	if change != nil {
		change(p)
	}
	phase := p.Status.Phase
	p, err := server.Client.CoreV1().Pods(l.ns).Create(l.Context(), p, metav1.CreateOptions{})
	if err != nil {
		l.Fatal(err)
	}
	p.Status.Phase = phase
	if p, err = server.Client.CoreV1().Pods(l.ns).UpdateStatus(l.Context(), p, metav1.UpdateOptions{}); err != nil {
		l.Fatal(err)
	}
	return p
}

func as(t testing.TB, user string) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(server.As(user))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// evict asks for an eviction as an agent should.
func (l *lab) evict(user string, p *corev1.Pod) {
	l.Helper()
	l.evictWith(user, p, &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
}

func (l *lab) evictWith(user string, p *corev1.Pod, o *metav1.DeleteOptions) {
	l.Helper()
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: l.ns, Name: p.Name}, DeleteOptions: o}
	if err := as(l, user).CoreV1().Pods(l.ns).EvictV1(l.Context(), eviction); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) deleteWith(user string, p *corev1.Pod, o metav1.DeleteOptions) {
	l.Helper()
	if err := as(l, user).CoreV1().Pods(l.ns).Delete(l.Context(), p.Name, o); err != nil {
		l.Fatal(err)
	}
}

func uid(p *corev1.Pod) *metav1.Preconditions { return metav1.NewUIDPreconditions(string(p.UID)) }

func (l *lab) rules() (rules []observer.Rule) {
	for _, v := range l.observer.Violations() {
		rules = append(rules, v.Rule)
	}
	slices.Sort(rules)
	return rules
}

// require waits until so many removals were seen, and checks what was found in them.
func (l *lab) require(removals int, want ...observer.Rule) {
	l.Helper()
	slices.Sort(want)
	l.eventually(func() bool { return l.observer.Summary().Removals == removals && len(l.rules()) >= len(want) })
	if got := l.rules(); !slices.Equal(got, want) {
		l.Errorf("found %v, want %v: %v", got, want, l.observer.Violations())
	}
}

func (l *lab) eventually(condition func() bool) {
	l.Helper()
	deadline, again := time.After(20*time.Second), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for !condition() {
		select {
		case <-deadline:
			l.Fatalf("not within 20 s; found %v", l.observer.Violations())
		case <-again.C:
		}
	}
}

func annotate(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

// Every bad act is caught, and told from every other; what an agent should do is not.
func TestOneRemoval(t *testing.T) {
	zero, one := int64(0), int64(1)
	for name, tc := range map[string]struct {
		pod  func(*corev1.Pod)
		by   string
		with func(*corev1.Pod) *metav1.DeleteOptions // of the eviction; nil is as it should be
		want []observer.Rule
	}{
		"as it should be":   {},
		"definitive":        {pod: annotate(observer.AnnotationFault, "Stale")},
		"after a threshold": {pod: annotate(observer.AnnotationFault, "IOError")},
		"opted out":         {pod: annotate(config.AnnotationWatch, "false"), want: []observer.Rule{observer.OptedOut}},
		"never opted in":    {pod: func(p *corev1.Pod) { delete(p.Annotations, config.AnnotationWatch) }, want: []observer.Rule{observer.OptedOut}},
		"only to be told":   {pod: annotate(config.AnnotationMode, "Report"), want: []observer.Rule{observer.OptedOut}},
		"other node":        {by: other, want: []observer.Rule{observer.OtherNode}},
		"no agent":          {by: stranger, want: []observer.Rule{observer.OtherNode}},
		"healthy":           {pod: func(p *corev1.Pod) { delete(p.Annotations, observer.AnnotationFault) }, want: []observer.Rule{observer.NotBroken}},
		"not up":            {pod: func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, want: []observer.Rule{observer.NotBroken}},
		"unknown":           {pod: annotate(observer.AnnotationFault, observer.FaultUnknown), want: []observer.Rule{observer.NotKnown}},
		"no grace": {
			with: func(p *corev1.Pod) *metav1.DeleteOptions {
				return &metav1.DeleteOptions{Preconditions: uid(p), GracePeriodSeconds: &zero}
			},
			want: []observer.Rule{observer.GraceZero},
		},
		"little grace": {with: func(p *corev1.Pod) *metav1.DeleteOptions {
			return &metav1.DeleteOptions{Preconditions: uid(p), GracePeriodSeconds: &one}
		}},
		"whichever pod": {with: func(*corev1.Pod) *metav1.DeleteOptions { return nil }, want: []observer.Rule{observer.Unconditional}},
		"everything": {
			pod: func(p *corev1.Pod) { p.Annotations = nil }, by: other,
			with: func(*corev1.Pod) *metav1.DeleteOptions { return &metav1.DeleteOptions{GracePeriodSeconds: &zero} },
			want: []observer.Rule{observer.OptedOut, observer.OtherNode, observer.NotBroken, observer.GraceZero, observer.Unconditional},
		},
	} {
		for _, verb := range []string{"evict", "delete"} {
			t.Run(name+", "+verb, func(t *testing.T) {
				l := newLab(t, limits())
				p := l.run("app", tc.pod)
				by, options := tc.by, &metav1.DeleteOptions{Preconditions: uid(p)}
				if by == "" {
					by = own
				}
				if tc.with != nil {
					options = tc.with(p)
				}
				if verb == "evict" {
					l.evictWith(by, p, options)
				} else {
					l.deleteWith(by, p, valueOf(options))
				}
				l.require(1, tc.want...)
			})
		}
	}
}

func valueOf(o *metav1.DeleteOptions) metav1.DeleteOptions {
	if o == nil {
		return metav1.DeleteOptions{}
	}
	return *o
}

// What was refused has removed nobody.
func TestRefused(t *testing.T) {
	l := newLab(t, limits())
	p := l.run("app", nil)
	wrong := &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.ns, Name: p.Name}, DeleteOptions: &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions("another")},
	}
	if err := as(t, other).CoreV1().Pods(l.ns).EvictV1(t.Context(), wrong); !apierrors.IsConflict(err) {
		t.Fatal(err)
	}
	l.evict(own, p)
	l.require(1)
}

// The kubelet's own deletions are no agent's.
func TestKubelet(t *testing.T) {
	l := newLab(t, limits())
	now := int64(0)
	l.deleteWith(apiserver.Administrator, l.run("ended", nil), metav1.DeleteOptions{GracePeriodSeconds: &now})
	l.evict(own, l.run("app", nil))
	l.require(1)
}

func TestTwice(t *testing.T) {
	for name, tc := range map[string]struct {
		again func(*lab, *corev1.Pod)
		want  []observer.Rule
	}{
		"the same request":  {again: func(l *lab, p *corev1.Pod) { l.evict(own, p) }},
		"another verb":      {func(l *lab, p *corev1.Pod) { l.deleteWith(own, p, metav1.DeleteOptions{Preconditions: uid(p)}) }, []observer.Rule{observer.Twice}},
		"by somebody else":  {func(l *lab, p *corev1.Pod) { l.evict(other, p) }, []observer.Rule{observer.Twice}},
		"with no grace now": {noGrace, []observer.Rule{observer.Twice, observer.GraceZero}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, limits())
			p := l.run("app", nil)
			l.evict(own, p)
			l.require(1)
			tc.again(l, p)
			l.eventually(func() bool { return l.observer.Summary().Requests["removed again"] == 1 })
			l.require(1, tc.want...)
		})
	}
}

func noGrace(l *lab, p *corev1.Pod) {
	zero := int64(0)
	l.deleteWith(own, p, metav1.DeleteOptions{Preconditions: uid(p), GracePeriodSeconds: &zero})
}

func TestBudgets(t *testing.T) {
	for name, tc := range map[string]struct {
		narrow func(*observer.Limits)
		want   []observer.Rule
	}{
		"wide":              {narrow: func(*observer.Limits) {}},
		"just enough":       {narrow: func(l *observer.Limits) { l.Node, l.Namespace, l.Cluster = 2, 2, 2 }},
		"node":              {func(l *observer.Limits) { l.Node = 1 }, []observer.Rule{observer.NodeBudget}},
		"namespace":         {func(l *observer.Limits) { l.Namespace = 1 }, []observer.Rule{observer.NamespaceRule}},
		"cluster":           {func(l *observer.Limits) { l.Cluster = 1 }, []observer.Rule{observer.ClusterBudget}},
		"in another window": {narrow: func(l *observer.Limits) { l.Node, l.Namespace, l.Cluster, l.Window = 1, 1, 1, time.Microsecond }},
		"all of them at once": {func(l *observer.Limits) { l.Node, l.Namespace, l.Cluster = 1, 1, 1 }, []observer.Rule{
			observer.NodeBudget, observer.NamespaceRule, observer.ClusterBudget,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			narrow := limits()
			tc.narrow(&narrow)
			l := newLab(t, narrow)
			for _, name := range []string{"one", "two"} {
				l.evict(own, l.run(name, nil))
			}
			l.require(2, tc.want...)
		})
	}
}

func TestOwner(t *testing.T) {
	shared := func(p *corev1.Pod) { p.OwnerReferences[0].Name, p.OwnerReferences[0].UID = "web", "owner-of-web" }
	starting := func(p *corev1.Pod) {
		shared(p)
		p.Status.Phase = corev1.PodPending
	}
	for name, tc := range map[string]struct {
		between func(*lab)
		narrow  func(*observer.Limits)
		want    []observer.Rule
	}{
		"no successor":            {want: []observer.Rule{observer.OwnerBusy}},
		"the successor starts":    {between: func(l *lab) { l.run("three", starting) }, want: []observer.Rule{observer.OwnerBusy}},
		"the successor runs":      {between: func(l *lab) { l.run("three", shared) }},
		"of another owner":        {between: func(l *lab) { l.run("three", nil) }, want: []observer.Rule{observer.OwnerBusy}},
		"not waited for any more": {narrow: func(l *observer.Limits) { l.FollowUp = time.Nanosecond }},
	} {
		t.Run(name, func(t *testing.T) {
			narrow := limits()
			if tc.narrow != nil {
				tc.narrow(&narrow)
			}
			l := newLab(t, narrow)
			one, two := l.run("one", shared), l.run("two", shared)
			l.evict(own, one)
			l.require(1)
			if tc.between != nil {
				tc.between(l)
				l.eventually(func() bool { return l.observer.Summary().PeakConcurrent == 1 })
			}
			<-time.After(time.Second / 2) // by the clock of the audit log it must come later than the successor
			l.evict(own, two)
			l.require(2, tc.want...)
		})
	}
}

// A definitive failure must be seen to lead to something.
func TestUntold(t *testing.T) {
	for name, tc := range map[string]struct {
		pod    func(*corev1.Pod)
		reason string // of an event after the failure
		want   bool
	}{
		"nothing":            {want: true},
		"held":               {reason: "RemediationHeld"},
		"blocked":            {reason: "RemediationBlocked"},
		"only seen":          {reason: "MountUnhealthy", want: true},
		"not definitive":     {pod: annotate(observer.AnnotationFault, "Hung")},
		"unknown":            {pod: annotate(observer.AnnotationFault, observer.FaultUnknown)},
		"opted out":          {pod: annotate(config.AnnotationWatch, "false")},
		"healthy":            {pod: func(p *corev1.Pod) { delete(p.Annotations, observer.AnnotationFault) }},
		"not up, and so not": {pod: func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, limits())
			p := l.run("app", tc.pod)
			l.eventually(func() bool { return l.observer.Summary().PeakUnhealthy > 0 || !tc.want })
			if tc.reason != "" {
				l.tell(p, tc.reason)
			}
			if tc.want {
				l.observer.Inspect(time.Now().Add(time.Hour - time.Minute))
				l.require(0)
			}
			l.inspectUntil(tc.want)
			if got := len(l.observer.Violations()); got != map[bool]int{true: 1}[tc.want] {
				t.Errorf("found %v", l.observer.Violations())
			}
		})
	}
}

// inspectUntil inspects as if two hours had passed, until something is found or for a second.
func (l *lab) inspectUntil(found bool) {
	l.Helper()
	for range 20 {
		l.observer.Inspect(time.Now().Add(2 * time.Hour))
		if found && len(l.observer.Violations()) > 0 {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (l *lab) tell(p *corev1.Pod, reason string) {
	l.Helper()
	e := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.ns, GenerateName: "event-"}, EventTime: metav1.NowMicro(), Type: "Warning", Reason: reason, Action: "Evict",
		ReportingController: "mountwarden", ReportingInstance: "node-1", Regarding: corev1.ObjectReference{Kind: "Pod", Namespace: l.ns, Name: p.Name, UID: p.UID},
	}
	if _, err := server.Client.EventsV1().Events(l.ns).Create(l.Context(), e, metav1.CreateOptions{}); err != nil {
		l.Fatal(err)
	}
	l.eventually(func() bool { return l.observer.Told(p.UID) || !strings.HasPrefix(reason, "Remediation") })
}

// The API server answers a trial well, and removes nobody.
func TestUnexplained(t *testing.T) {
	l := newLab(t, limits())
	p := l.run("app", nil)
	l.evictWith(own, p, &metav1.DeleteOptions{Preconditions: uid(p), DryRun: []string{metav1.DryRunAll}})
	l.eventually(func() bool { return l.observer.Summary().Requests["create pods/eviction"] == 1 })
	l.observer.Inspect(time.Now())
	l.require(0)
	for range 2 { // told once
		l.observer.Inspect(time.Now().Add(time.Minute))
	}
	l.require(0, observer.Unexplained)
}
