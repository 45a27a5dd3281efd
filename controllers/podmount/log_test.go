package podmount_test

import (
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/probes"
)

// Each look is in the log from level 1 on, be it healthy, broken or none, and below that a healthy mount never is. What may be a secret
// is left out.
func TestLooksAreLoggedFromLevelOne(t *testing.T) {
	for name, tc := range map[string]struct {
		level int
		found func(*world)
		want  []string // in the one line; none when nil
	}{
		"level 0":   {0, func(*world) {}, nil},
		"healthy":   {1, func(*world) {}, []string{`"Looked"`, `"health"="Healthy"`, `"mountPath"="/data"`, `"cause"=""`}},
		"unknown":   {1, func(w *world) { w.unknown["/data"] = "denied at sftp://jane:pass@host" }, []string{`"health"="Unknown"`, "denied at", "REDACTED@host"}},
		"two steps": {2, func(*world) {}, []string{`"health"="Healthy"`}},
	} {
		t.Run(name, func(t *testing.T) {
			w, pod, lines := newWorld(), newPod("app", nil), []string{}
			w.put(pod)
			tc.found(w)
			r := w.reconciler(t)
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

// A broken look is logged beside what it changes.
func TestABrokenLookIsLogged(t *testing.T) {
	w, pod, lines := newWorld(), newPod("app", nil), []string{}
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{Verbosity: 1})
	if _, err := w.reconciler(t).Reconcile(ctrl.LoggerInto(t.Context(), log), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(pod)}); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2 || !strings.Contains(lines[0], `"health"="Broken"`) || !strings.Contains(lines[0], `"cause"="Disconnected"`) {
		t.Errorf("logged %q, want the look and the suspicion", lines)
	}
}
