package status_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/golden"
	"github.com/mountwarden/mountwarden/controllers/status"
)

var update = flag.Bool("update", false, "write the golden file anew")

func encode(t testing.TB, s status.Snapshot) string {
	t.Helper()
	var text bytes.Buffer
	if err := status.WriteJSON(&text, s, "  "); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// The file is also what the tests of the packages below show.
func TestJSON(t *testing.T) {
	text := encode(t, node().Snapshot())
	golden.Check(t, filepath.Join("testdata", "node.json"), text, *update)
	for _, secret := range []string{"hunter2", "abc"} {
		if strings.Contains(text, secret) {
			t.Errorf("the secret %q is shown", secret)
		}
	}
}

// No name of a mount steers a terminal, and a reader of JSON gets the names as they are, but for
// what is no UTF-8.
func TestJSONIsPrintable(t *testing.T) {
	text := encode(t, node().Snapshot())
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%q stands in the JSON", r)
		}
	}
	var again status.Snapshot
	if err := json.Unmarshal([]byte(text), &again); err != nil {
		t.Fatal(err)
	}
	want := node().Snapshot()
	i := slices.IndexFunc(want.Pods, func(p status.Pod) bool { return p.Name == "held" })
	want.Pods[i].Mounts[1].MountPoint = strings.ToValidUTF8(want.Pods[i].Mounts[1].MountPoint, "\ufffd")
	if diff := cmp.Diff(want, again); diff != "" {
		t.Errorf("what is read is not what was written (-written +read):\n%s", diff)
	}
}

func TestAstralCharactersAreEscapedInPairs(t *testing.T) {
	s := status.Snapshot{Node: "tag \U000e0041 here"} // a tag character: not printable, beyond 16 bits
	var again status.Snapshot
	if text := encode(t, s); strings.ContainsRune(text, 0xe0041) || json.Unmarshal([]byte(text), &again) != nil || again.Node != s.Node {
		t.Errorf("%q was read as %q", s.Node, again.Node)
	}
}

// Every field has a name in JSON, lower case first, that docs/status.md describes.
func TestJSONNames(t *testing.T) {
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "status.md"))
	if err != nil {
		t.Fatal(err)
	}
	described := func(name string) bool {
		return strings.Contains(string(docs), name+"`") || strings.Contains(string(docs), name+"[]`")
	}
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range of.NumField() {
			f := of.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !strings.EqualFold(name, f.Name) || !unicode.IsLower(rune(name[0])) {
				t.Errorf("%s.%s is %q in JSON", of.Name(), f.Name, name)
			}
			if !described(name) {
				t.Errorf("docs/status.md does not describe %s of %s", name, of.Name())
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[status.Snapshot]())
}

func TestNothingWatched(t *testing.T) {
	l := nodeWith(nil, nil)
	l.LastLook, l.Overdue = func() time.Time { return time.Time{} }, func() time.Duration { return 0 }
	s := l.Snapshot()
	if s.Pods == nil || s.Removals == nil || len(s.Rows()) != 0 || s.Summary != (status.Summary{}) {
		t.Errorf("of nothing: %+v", s)
	}
	if got := s.Headline(); got != "Node node-1: nothing is watched." {
		t.Errorf("headline %q", got)
	}
	if how := s.HowToOptIn(); !strings.Contains(how, config.AnnotationWatch+`: "true"`) || strings.Contains(how, "namespaceSelector") {
		t.Errorf("says %q", how)
	}
	s.Agent.Selector = "team=data"
	if how := s.HowToOptIn(); !strings.Contains(how, "team=data") {
		t.Errorf("does not say which namespaces may opt in: %q", how)
	}
}

func TestSteps(t *testing.T) {
	want := map[string]status.NextStep{
		"healthy":  {Step: status.StepLook, Text: "look again", At: now.Add(8 * time.Second)},
		"full":     {Step: status.StepLook, Text: "look again", At: now.Add(8 * time.Second)},
		"unseen":   {Step: status.StepLook, Text: "look again; nothing is removed for Unknown", At: now.Add(8 * time.Second)},
		"held":     {Step: status.StepHold, Text: "ask again whether the pod may be removed", At: now.Add(4 * time.Second)},
		"report":   {Step: status.StepHold, Text: "the pod stays: mode Report"},
		"removed":  {Step: status.StepEnd, Text: "the pod was removed and ends"},
		"settling": {Step: status.StepSettle, Text: "remove the pod unless the mount recovers", At: now.Add(58 * time.Second)},
		"due":      {Step: status.StepRemediate, Text: "remove the pod if no gate holds it", At: now.Add(8 * time.Second)},
		"hung":     {Step: status.StepConfirm, Text: "remove the pod if it does not answer", At: now.Add(28 * time.Second)},
		"suspect":  {Step: status.StepConfirm, Text: "remove the pod if the next 2 looks find it broken", At: now.Add(8 * time.Second)},
		"once-more": {
			Step: status.StepConfirm, Text: "remove the pod if the next look finds it broken", At: now.Add(8 * time.Second),
		},
	}
	seen := map[string]bool{}
	for _, p := range node().Snapshot().Pods {
		if len(p.Mounts) == 0 {
			continue
		}
		seen[p.Name] = true
		if diff := cmp.Diff(want[p.Name], p.Mounts[0].NextStep); diff != "" {
			t.Errorf("%s (-want +got):\n%s", p.Name, diff)
		}
	}
	if !maps.Equal(seen, map[string]bool{
		"healthy": true, "full": true, "unseen": true, "held": true, "report": true, "removed": true, "settling": true, "due": true, "hung": true, "suspect": true, "once-more": true,
	}) {
		t.Errorf("saw %v", seen)
	}
}

func TestReportModeSaysThatThePodStays(t *testing.T) {
	w := watched("a", "b", watchedMount("/data", "IOError"))
	w.Mode = config.ModeReport
	step := nodeWith([]controllers.Watched{w}, nil).Snapshot().Pods[0].Mounts[0].NextStep
	if step.Step != status.StepConfirm || !strings.HasPrefix(step.Text, "report it as failed if") {
		t.Errorf("next: %+v", step)
	}
}

func TestRowsComeWorstFirst(t *testing.T) {
	var states []string
	for _, r := range node().Snapshot().Rows() {
		states = append(states, strings.TrimSpace(r.State+" "+r.Cause))
	}
	want := []string{
		"Failed Disconnected", "Failed Disconnected", "Failed Disconnected", "Failed Disconnected", "Failed Disconnected",
		"Suspect Hung", "Suspect IOError", "Suspect IOError", "Unknown", "Unknown", "Healthy NoSpace", "Healthy", "Healthy",
	}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whatever a name holds, a row is printable, and mounts with the same printable name have different
// ids.
func TestRowsArePrintable(t *testing.T) {
	ids := map[string]bool{}
	rows := node().Snapshot().Rows()
	for _, r := range rows {
		ids[r.ID] = true
		for _, cell := range []string{r.Namespace, r.Pod, r.Container, r.Volume, r.MountPoint, r.FSType, r.Source, r.Finding, r.Next, r.Held, r.ID} {
			if !utf8.ValidString(cell) || strings.ContainsFunc(cell, func(c rune) bool { return !unicode.IsPrint(c) }) {
				t.Errorf("cell %q", cell)
			}
		}
	}
	if len(ids) != len(rows) {
		t.Errorf("%d ids of %d rows", len(ids), len(rows))
	}
}

func TestACauseIsNotToldTwice(t *testing.T) {
	for _, tc := range []struct{ cause, finding, want string }{
		{"Stale", "Stale (ESTALE from statx)", ""}, {"NoSpace", "no block is left", "NoSpace"}, {"Stale", "", "Stale"}, {"", "not seen", ""}, {"", "", ""},
	} {
		if got := (status.Row{Cause: tc.cause, Finding: tc.finding}).ShortCause(); got != tc.want {
			t.Errorf("%q beside %q: %q, want %q", tc.cause, tc.finding, got, tc.want)
		}
	}
}

func TestLatencies(t *testing.T) {
	got := map[string]string{}
	for _, r := range node().Snapshot().Rows() {
		got[r.Pod] = r.Latency
	}
	if got["healthy"] != "1.3ms" || got["hung"] != "none for 20s" || got["starting"] != "" {
		t.Errorf("latencies %v", got)
	}
}

func TestResults(t *testing.T) {
	var got []string
	for _, r := range node().Snapshot().Removals {
		got = append(got, r.Pod+": "+r.Result())
	}
	want := []string{"web-4: waits for a successor", "web-3: it ends", "web-2: it does not end", "web-1: Healed after 1s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the latest first (-want +got):\n%s", diff)
	}
	young := status.Removal{Gone: true, Successor: "web-9"}
	if got := young.Result(); got != "waits for the successor's mounts to be healthy" {
		t.Errorf("with a successor that nobody has looked at: %q", got)
	}
}

// What a snapshot costs grows with the mounts and no faster: twice as many take twice the memory
// and the text.
func TestCostIsLinear(t *testing.T) {
	const few, many = 1100, 2200
	cost := func(n int) (allocations float64, size int) {
		l := nodeWith(crowd(n), nil)
		size = len(encode(t, l.Snapshot()))
		return testing.AllocsPerRun(3, func() { encode(t, l.Snapshot()) }), size
	}
	allocations, size := cost(few)
	twice, doubled := cost(many)
	t.Logf("%d mounts: %d bytes and %.0f allocations each", few, size/few, allocations/few)
	if ratio := twice / allocations; ratio > 2.2 {
		t.Errorf("%.1f times the allocations for twice the mounts", ratio)
	}
	if ratio := float64(doubled) / float64(size); ratio > 2.2 {
		t.Errorf("%.1f times the text for twice the mounts", ratio)
	}
	if size/few > 2000 {
		t.Errorf("%d bytes of JSON a healthy mount", size/few)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	l := nodeWith(crowd(1100), nil)
	b.ReportAllocs()
	for b.Loop() {
		l.Snapshot()
	}
}

func BenchmarkJSON(b *testing.B) {
	s := nodeWith(crowd(1100), nil).Snapshot()
	b.ReportAllocs()
	for b.Loop() {
		encode(b, s)
	}
}
