package podmount_test

import (
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/probes"
)

// Each observation is logged from level 1 on, be it healthy, broken or unknown; below that, a
// healthy one never is. What may be a secret is left out.
func TestProbesAreLoggedFromLevelOne(t *testing.T) {
	for name, tc := range map[string]struct {
		level int
		found func(*fakeNode)
		want  []string // in the one line; none when nil
	}{
		"level 0":   {0, func(*fakeNode) {}, nil},
		"healthy":   {1, func(*fakeNode) {}, []string{`"Looked"`, `"health"="Healthy"`, `"mountPath"="/data"`, `"cause"=""`}},
		"unknown":   {1, func(w *fakeNode) { w.unknown["/data"] = "denied at sftp://jane:pass@host" }, []string{`"health"="Unknown"`, "denied at", "REDACTED@host"}},
		"two steps": {2, func(*fakeNode) {}, []string{`"health"="Healthy"`}},
	} {
		t.Run(name, func(t *testing.T) {
			w, pod, lines := newFakeNode(), newPod("app", nil), []string{}
			w.putObject(pod)
			tc.found(w)
			r := w.newReconciler(t)
			log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{Verbosity: tc.level})
			if _, err := r.Reconcile(ctrl.LoggerInto(t.Context(), log), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(pod)}); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(lines, "\n"); (tc.want == nil) != (got == "") || strings.Contains(got, "\n") {
				t.Fatalf("logged %q", got)
			}
			for _, part := range tc.want {
				if !strings.Contains(lines[0], part) {
					t.Errorf("%s does not hold %s", lines[0], part)
				}
			}
		})
	}
}

// A broken observation is logged beside what it changes.
func TestABrokenProbeIsLogged(t *testing.T) {
	w, pod, lines := newFakeNode(), newPod("app", nil), []string{}
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{Verbosity: 1})
	if _, err := w.newReconciler(t).Reconcile(ctrl.LoggerInto(t.Context(), log), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(pod)}); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2 || !strings.Contains(lines[0], `"health"="Broken"`) || !strings.Contains(lines[0], `"cause"="Disconnected"`) {
		t.Errorf("logged %q, want the look and the suspicion", lines)
	}
}
