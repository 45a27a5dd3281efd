package lab_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/node"
)

// scenario is one row of the table of failures and of what only looks like one.
type scenario struct {
	name  string // what has happened, in the words of who searches for it
	does  string // how the lab brings it about
	want  string // what must become of it: see failed, stays, warned and unknown
	at    string // path of the mount that fails; "" when the pod has one only
	shows string // what the evidence must contain; "" for anything
	needs string // what the machine may lack; such a row is run by a test of its own
	alone bool   // it disturbs all others that need the same
	turns bool   // it takes turns with others of its kind
	since string // the first Linux, such as "6.15", whose kernel shows it; the pod stays with older ones
	run   func(*scene)
}

// promise is the time from any failure to the decision to remove the pod, with default settings; beyond a period is what a
// failure needs that the kernel never takes back.
const (
	promise       = time.Minute
	beyondAPeriod = 2 * time.Second
)

// What becomes of a pod.
const (
	stays   = "stays: Healthy"
	unknown = "stays: Unknown"
	ignored = "stays: not looked at"
)

func failed(c probes.Cause) string   { return "Failed: " + string(c) }
func warned(w probes.Warning) string { return stays + ", warning " + string(w) }

func scenarios() (all []scenario) {
	for _, family := range [][]scenario{
		fuseScenarios(), ownerScenarios(), hostScenarios(), sourceScenarios(), childScenarios(), diskScenarios(), canaryScenarios(),
		healthyScenarios(), identityScenarios(), nfsScenarios(nil), blockScenarios(),
	} {
		all = append(all, family...)
	}
	return all
}

// row is what a scenario came to in this run.
type row struct {
	shows, verdict, result string
	took                   time.Duration // to the decision, on the scene's clock
}

// seen is a row for other programs, as JSON.
type seen struct {
	Scenario, Want, Verdict, Shows, Result string
	Seconds                                float64
}

// writeRows writes them to the file that an environment variable names, if it does.
func writeRows(t *testing.T, variable string, all []scenario, rows []row) {
	t.Helper()
	file := os.Getenv(variable)
	if file == "" {
		return
	}
	list := make([]seen, len(all))
	for i, r := range rows {
		list[i] = seen{all[i].name, all[i].want, r.verdict, r.shows, r.result, r.took.Seconds()}
	}
	text, err := json.Marshal(list)
	must(t, err)
	must(t, os.WriteFile(file, text, 0o644))
}

// TestFailures runs all scenarios that any machine can be in, with a prober that has the capabilities of the chart's defaults and no more.
// MOUNTWARDEN_LAB_TABLE names a file that the table is written to.
func TestFailures(t *testing.T) {
	needRoot(t)
	all := slices.DeleteFunc(scenarios(), func(sc scenario) bool { return sc.needs != "" })
	rows := make([]row, len(all))
	p := newLooker(t, nodeOptions())
	t.Run("row", func(t *testing.T) {
		for i, sc := range all {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				rows[i] = row{result: "no result"}
				sc.play(newScene(t, p), &rows[i])
			})
		}
	})
	table := runTable(all, rows)
	t.Log("\n" + table)
	if file := os.Getenv("MOUNTWARDEN_LAB_TABLE"); file != "" {
		must(t, os.WriteFile(file, []byte(table), 0o644))
	}
	writeRows(t, "MOUNTWARDEN_LAB_ROWS", all, rows)
}

// nodeOptions are those of an agent whose node is this process.
func nodeOptions() node.Options { return node.Options{HostPID: os.Getpid(), MaxParked: 128} }

func (sc scenario) play(s *scene, r *row) {
	defer func() {
		if s.skipped != "" {
			*r = row{result: "cannot be made here: " + s.skipped}
		}
	}()
	sc.run(s)
	if s.failure != nil {
		s.t.Errorf("to be removed before anything has happened: %+v", s.failure)
	}
	if want := sc.wanted(s.t); want != sc.want {
		sc.want, sc.shows, sc.at = want, "", ""
	}
	took := s.judge(sc.want)
	*r = row{shows: s.shows(), verdict: s.outcome(), result: "as it should be", took: took}
	s.check(sc, took)
	if s.after != nil {
		s.after()
	}
	if s.t.Failed() {
		r.result = "**WRONG**"
	}
}

// wanted is what must become of the pod with this machine's kernel.
func (sc scenario) wanted(t *testing.T) string {
	t.Helper()
	if sc.since != "" && !isLinux(t, sc.since) {
		return stays
	}
	return sc.want
}

// isLinux reports whether this machine's kernel is at least of a version, such as "6.15".
func isLinux(t *testing.T, version string) bool {
	t.Helper()
	var name unix.Utsname
	must(t, unix.Uname(&name))
	var here, wanted [2]int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &here[0], &here[1])
	must(t, err)
	_, err = fmt.Sscanf(version, "%d.%d", &wanted[0], &wanted[1])
	must(t, err)
	return slices.Compare(here[:], wanted[:]) >= 0
}

// check compares what has become of the pod with what should have.
func (s *scene) check(sc scenario, took time.Duration) {
	s.t.Helper()
	got := s.outcome()
	if got != sc.want {
		s.t.Errorf("%s, want %s", got, sc.want)
	}
	if limit := s.limit(); s.failure != nil && took > limit {
		s.t.Errorf("to be removed after %s, at most %s are promised", took, limit)
	}
	if s.failure != nil && sc.at != "" && s.failure.Observation.Target.Path != sc.at {
		s.t.Errorf("%s has failed, want %s", s.failure.Observation.Target.Path, sc.at)
	}
	if s.failure != nil {
		if o := s.failure.Observation; o.Operation != probes.OpTable && (o.FSType == "" || o.Device == "") {
			s.t.Errorf("the mount is not told: %+v", o)
		}
	}
	if shown := s.shows(); !strings.Contains(shown, sc.shows) {
		s.t.Errorf("the kernel shows %q, want %q", shown, sc.shows)
	}
	if s.t.Failed() {
		s.t.Log(strings.Join(s.history, "\n"))
	}
}

// limit is the time that the failure may take. Where nothing answers, the first look has no time left for the host's view.
func (s *scene) limit() time.Duration {
	if s.failure != nil && s.failure.Definitive && s.timeout != hangTimeout {
		return s.rules.Period + beyondAPeriod
	}
	return promise
}

// judge looks as often as the agent would, until the pod is to be removed or has stayed for as long as is promised. What was
// broken was so from right after the last look. A warning may come later: the host's table is not read at every look.
func (s *scene) judge(want string) (took time.Duration) {
	s.t.Helper()
	began := s.clock.now()
	s.clock.skip(s.rules.Period)
	for s.look(); s.failure == nil && s.clock.now().Sub(began) < promise; s.look() {
		s.clock.skip(s.verdict.Next)
	}
	if took = s.clock.now().Sub(began); strings.HasPrefix(want, stays+",") {
		eventually(s.t, want, func() bool { s.look(); return s.failure != nil || s.outcome() == want })
	}
	return took
}

// outcome says what has become of the pod, in the words of a scenario.
func (s *scene) outcome() string {
	if s.failure != nil {
		return failed(s.failure.Observation.Cause)
	}
	if len(s.seen) == 0 {
		return ignored
	}
	o := s.worst()
	switch m := s.state[o.Target]; {
	case m.Unseen > 0:
		return unknown
	case m.Phase != verdict.Healthy:
		return "stays: " + m.Phase.String() + " " + string(o.Cause)
	case o.Warning != probes.WarningNone:
		return warned(o.Warning)
	default:
		return stays
	}
}

// worst is the latest look at the mount that is in the poorest state.
func (s *scene) worst() (worst probes.Observation) {
	rank := func(o probes.Observation) int {
		m := s.state[o.Target]
		switch {
		case m.Phase != verdict.Healthy:
			return 3
		case m.Unseen > 0:
			return 2
		case o.Warning != probes.WarningNone:
			return 1
		default:
			return 0
		}
	}
	worst = s.seen[0]
	for _, o := range s.seen[1:] {
		if rank(o) > rank(worst) {
			worst = o
		}
	}
	return worst
}

// shows says what the latest look at the mount in question was told by the kernel.
func (s *scene) shows() string {
	if len(s.seen) == 0 {
		return "nothing to look at"
	}
	o := s.worst()
	if s.failure != nil {
		o = s.failure.Observation
	}
	switch {
	case o.Cause == probes.CauseHung:
		return fmt.Sprintf("no answer to %s", o.Operation)
	case o.Errno != 0:
		return fmt.Sprintf("%s from %s", probes.ErrnoName(o.Errno), o.Operation)
	case o.Detail != "":
		return strings.ReplaceAll(o.Detail, s.root, "")
	default:
		return "good answers"
	}
}

func runTable(all []scenario, rows []row) string {
	var text strings.Builder
	fmt.Fprintln(&text, "| what has happened | what the kernel shows | verdict | result |\n|---|---|---|---|")
	for i, sc := range all {
		verdict := rows[i].verdict
		if strings.HasPrefix(verdict, failed("")) {
			verdict += fmt.Sprintf(" after %.0f s", rows[i].took.Seconds())
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s |\n", sc.name, strings.ReplaceAll(rows[i].shows, "|", `\|`), verdict, rows[i].result)
	}
	return text.String()
}

func TestEveryCauseHasAScenario(t *testing.T) {
	wanted, names := map[string]bool{}, map[string]bool{}
	for _, sc := range scenarios() {
		if names[sc.name] {
			t.Errorf("two scenarios are called %q", sc.name)
		}
		names[sc.name] = true
		wanted[sc.want] = wanted[sc.want] || sc.needs == "" && sc.since == ""
	}
	for _, c := range probes.Causes() {
		if !wanted[failed(c)] {
			t.Errorf("no scenario fails with %s", c)
		}
	}
	for _, w := range probes.Warnings() {
		if !wanted[warned(w)] {
			t.Errorf("no scenario is warned of with %s", w)
		}
	}
}

var update = flag.Bool("update", false, "write docs/failures.md anew")

// TestDocumentation holds docs/failures.md against the scenarios; with -update, which go generate uses, it writes it.
func TestDocumentation(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "failures.md")
	now := documentation()
	if *update {
		must(t, os.WriteFile(path, []byte(now), 0o644))
		return
	}
	file, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(file), now); diff != "" {
		t.Errorf("%s is out of date: run go test -run TestDocumentation ./lab -update in test/ (-file +now):\n%s", path, diff)
	}
}

func documentation() string {
	var text strings.Builder
	fmt.Fprint(&text, `# What counts as a failure

Generated by `+"`go generate ./lab`"+` in test/ from the scenarios of the lab; do not edit. The lab brings each of them about on real
mounts (`+"`make test-root`"+`, which also shows what the kernel said; those with NFS in virtual machines, `+"`make test-kernels`"+`) and holds the
agent to the verdict, with default settings. What each kernel shows, and after how long, is in [kernels.md](kernels.md).
`)
	fmt.Fprintf(&text, "\n## Found: the pod is replaced, within %.0f s\n", promise.Seconds())
	document(&text, "Failed: ")
	fmt.Fprint(&text, "\n## Left alone: the pod stays, whatever it looks like\n")
	document(&text, "stays: ")
	return text.String()
}

// document writes a table of the scenarios whose verdict begins so.
func document(text io.Writer, prefix string) {
	fmt.Fprint(text, "\n| what has happened | how it is done | verdict |\n|---|---|---|\n")
	for _, sc := range scenarios() {
		if want, ok := strings.CutPrefix(sc.want, prefix); ok {
			fmt.Fprintf(text, "| %s | %s | %s |\n", sc.name, sc.does, want+since(sc))
		}
	}
}

func since(sc scenario) string {
	if sc.since == "" {
		return ""
	}
	return "; before Linux " + sc.since + " the kernel does not show it, and the pod stays"
}
