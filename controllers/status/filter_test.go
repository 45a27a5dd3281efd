package status_test

import (
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mountwarden/mountwarden/controllers/status"
)

func TestNewFilter(t *testing.T) {
	for _, tc := range []struct {
		namespace, pod, state string
		want                  status.Filter
	}{
		{"", "", "", status.Filter{}},
		{"a", "", "", status.Filter{Namespace: "a"}},
		{"", "p", "", status.Filter{Pod: "p"}},
		{"", "a/p", "", status.Filter{Namespace: "a", Pod: "p"}},
		{"a", "a/p", "Failed", status.Filter{Namespace: "a", Pod: "p", State: "Failed"}},
		{"", "", status.NotHealthy, status.Filter{State: status.NotHealthy}},
	} {
		if got, err := status.NewFilter(tc.namespace, tc.pod, tc.state); err != nil || got != tc.want {
			t.Errorf("%q %q %q: %+v, %v, want %+v", tc.namespace, tc.pod, tc.state, got, err, tc.want)
		}
	}
}

func TestNewFilterRefuses(t *testing.T) {
	for _, tc := range []struct {
		namespace, pod, state string
		words                 []string
	}{
		{"", "/p", "", []string{`"/p"`, "NAMESPACE/NAME"}},
		{"", "a/", "", []string{`"a/"`}},
		{"", "a/b/c", "", []string{`"a/b/c"`}},
		{"b", "a/p", "", []string{`"a/p"`, `"b"`, "one namespace"}},
		{"", "", "failed", []string{`"failed"`, "Failed, Suspect, Unknown, Healthy"}},
		{"", "", "Failed\x1b", []string{`"Failed\x1b"`}},
	} {
		_, err := status.NewFilter(tc.namespace, tc.pod, tc.state)
		if err == nil {
			t.Errorf("%q %q %q was accepted", tc.namespace, tc.pod, tc.state)
			continue
		}
		for _, word := range tc.words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not say %s", err, word)
			}
		}
	}
}

// mounts lists what is shown, one line a mount.
func mounts(s status.Snapshot) map[string]bool {
	all := map[string]bool{}
	for _, r := range s.Rows() {
		all[strings.Join([]string{r.Namespace, r.Pod, r.Container, r.MountPoint, r.State}, "|")] = true
	}
	return all
}

// A filter leaves what it names and nothing else, changes nothing that it was given, and the order
// of two does not matter.
func TestFiltersAreSets(t *testing.T) {
	seed := time.Now().UnixNano()
	random := rand.New(rand.NewSource(seed))
	whole := node().Snapshot()
	one := func(of ...string) string { return of[random.Intn(len(of))] }
	for range 300 {
		a := status.Filter{Namespace: one("", "db", "shop", "nowhere"), State: one(append(status.States(), "")...)}
		b := status.Filter{Pod: one("", "held", "hung", "full", "healthy", "nobody"), State: one(append(status.States(), "")...)}
		some := a.Apply(whole)
		if diff := cmp.Diff(node().Snapshot(), whole); diff != "" {
			t.Fatalf("seed %d, %+v: the filter changed what it was given:\n%s", seed, a, diff)
		}
		if some.Summary != whole.Summary {
			t.Fatalf("seed %d, %+v: the node's summary is %+v", seed, a, some.Summary)
		}
		if diff := cmp.Diff(some, a.Apply(some)); diff != "" {
			t.Fatalf("seed %d, %+v: twice is not once:\n%s", seed, a, diff)
		}
		if diff := cmp.Diff(b.Apply(some), a.Apply(b.Apply(whole))); diff != "" {
			t.Fatalf("seed %d, %+v and %+v: the order matters:\n%s", seed, a, b, diff)
		}
		left := mounts(some)
		for m := range mounts(whole) {
			fields := strings.Split(m, "|")
			meant := (a.Namespace == "" || a.Namespace == fields[0]) && matches(a.State, fields[1], fields[4]) && (a.State == "" || fields[2] != "")
			if left[m] != meant {
				t.Fatalf("seed %d, %+v: %s is shown: %v", seed, a, m, left[m])
			}
		}
		for _, r := range some.Removals {
			if a.Namespace != "" && a.Namespace != r.Namespace {
				t.Fatalf("seed %d, %+v: shows the removal of %s/%s", seed, a, r.Namespace, r.Pod)
			}
		}
	}
}

// matches says what is meant: of the healthy pods only "full" has a warning.
func matches(want, pod, state string) bool {
	switch want {
	case "":
		return true
	case status.NotHealthy:
		return state != "Healthy" || pod == "full"
	default:
		return state == want
	}
}
