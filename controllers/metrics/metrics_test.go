package metrics_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/golden"
	"github.com/mountwarden/mountwarden/controllers/metrics"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

var update = flag.Bool("update", false, "write the golden file and docs/metrics.md anew")

func TestExposition(t *testing.T) {
	a := newAgent(t)
	a.exercise()
	golden.Check(t, filepath.Join("testdata", "exposition.txt"), a.text(t), *update)
}

func TestNamesAreClean(t *testing.T) {
	a := newAgent(t)
	a.exercise()
	problems, err := promlint.NewWithMetricFamilies(a.gather(t)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestBeforeTheFirstLook(t *testing.T) {
	a := newAgent(t)
	text := a.text(t)
	for _, absent := range []string{"mountwarden_last_scan", "mountwarden_mount_", "mountwarden_remediations_held"} {
		if found := lines(text, absent); len(found) > 0 {
			t.Errorf("shown before anything is known: %v", found)
		}
	}
	for _, present := range []string{"mountwarden_pods_watched 2", "mountwarden_pods_invalid_policy 1", "mountwarden_workers 3", "mountwarden_probes_parked 1", "mountwarden_mounts_dropped 0"} {
		if len(lines(text, present)) != 1 {
			t.Errorf("not shown: %s\n%s", present, text)
		}
	}
}

func TestRegisteredTwice(t *testing.T) {
	a := newAgent(t)
	if err := metrics.RegisterLive(a.registry, metrics.Live{}); err == nil {
		t.Error("the same metrics were registered twice")
	}
}

func TestMountStates(t *testing.T) {
	unseen := func(s controllers.Status) controllers.Status {
		s.Mount.Unseen = 1
		return s
	}
	for _, tc := range []struct {
		name    string
		status  controllers.Status
		healthy string // "" is absent
		state   string
	}{
		{"healthy", status("/m", verdict.Healthy, fuse("")), "1", `cause="",container="app",mountpath="/m",namespace="default",pod="app",state="Healthy"`},
		{"suspect", status("/m", verdict.Suspect, fuse("IOError")), "0", `cause="IOError",container="app",mountpath="/m",namespace="default",pod="app",state="Suspect"`},
		{"failed", status("/m", verdict.Failed, fuse("Stale")), "0", `cause="Stale",container="app",mountpath="/m",namespace="default",pod="app",state="Failed"`},
		{"never judged", status("/m", verdict.Unjudged, probes.Observation{}), "", `cause="",container="app",mountpath="/m",namespace="default",pod="app",state="Unknown"`},
		{"out of sight", unseen(status("/m", verdict.Healthy, fuse(""))), "", `cause="",container="app",mountpath="/m",namespace="default",pod="app",state="Unknown"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAgent(t)
			a.statuses = []controllers.Status{tc.status}
			text := a.text(t)
			want := []string{}
			if tc.healthy != "" {
				want = append(want, `mountwarden_mount_healthy{container="app",mountpath="/m",namespace="default",pod="app",volume="data"} `+tc.healthy)
			}
			if diff := cmp.Diff(want, lines(text, "mountwarden_mount_healthy")); diff != "" {
				t.Errorf("mount_healthy (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"mountwarden_mount_state{" + tc.state + `,volume="data"} 1`}, lines(text, "mountwarden_mount_state")); diff != "" {
				t.Errorf("mount_state (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOneVolumeTwiceInOneContainer(t *testing.T) {
	a := newAgent(t)
	a.statuses = []controllers.Status{status("/one", verdict.Healthy, fuse("")), status("/two", verdict.Healthy, fuse(""))}
	if got := lines(a.text(t), "mountwarden_mount_healthy"); len(got) != 2 {
		t.Errorf("got %v, want a series for each mount", got)
	}
}

func TestSeriesVanishWithThePod(t *testing.T) {
	a := newAgent(t)
	a.exercise()
	if len(lines(a.text(t), "mountwarden_mount_")) == 0 {
		t.Fatal("nothing to vanish")
	}
	a.statuses = nil
	for _, line := range lines(a.text(t), "mountwarden_") {
		if strings.Contains(line, `pod="`) || strings.Contains(line, "remediations_held") {
			t.Errorf("left behind: %s", line)
		}
	}
}

// A pod counts once, however many of its mounts have failed, and only while it is held.
func TestHeldCountsPods(t *testing.T) {
	a := newAgent(t)
	held := func(namespace, pod, path string, reason controllers.Held) controllers.Status {
		s := status(path, verdict.Failed, fuse("Stale"))
		s.Namespace, s.Pod, s.Held = namespace, pod, reason
		return s
	}
	a.statuses = []controllers.Status{
		held("a", "one", "/1", controllers.HeldBudget), held("a", "one", "/2", controllers.HeldBudget),
		held("b", "one", "/1", controllers.HeldBudget), held("b", "two", "/1", controllers.HeldDryRun), held("b", "three", "/1", controllers.HeldNone),
	}
	want := []string{`mountwarden_remediations_held{reason="Budget"} 2`, `mountwarden_remediations_held{reason="DryRun"} 1`}
	if diff := cmp.Diff(want, lines(a.text(t), "mountwarden_remediations_held")); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
}

// Each reason is there from the start, at 0: Prometheus sees no increase in a series that begins
// with 1.
func TestHoldsAreCountedByReason(t *testing.T) {
	a := newAgent(t)
	if got := lines(a.text(t), "mountwarden_remediation_holds_total"); len(got) != len(controllers.Holds()) || !slices.Contains(got, `mountwarden_remediation_holds_total{reason="GaveUp"} 0`) {
		t.Errorf("before anything is held: %q", got)
	}
	for _, r := range []controllers.Result{
		{Outcome: controllers.OutcomeHeld, Held: controllers.HeldGaveUp}, {Outcome: controllers.OutcomeHeld, Held: controllers.HeldGaveUp},
		{Outcome: controllers.OutcomeBlocked, Held: controllers.HeldBudget}, {Outcome: controllers.OutcomeFailed, Held: controllers.HeldAPIError},
		{Outcome: controllers.OutcomeEvicted}, {Outcome: controllers.OutcomeGone}, {Outcome: controllers.OutcomeHealthy},
	} {
		a.Remediated(probes.CauseStale, r)
	}
	got := slices.DeleteFunc(lines(a.text(t), "mountwarden_remediation_holds_total"), func(line string) bool { return strings.HasSuffix(line, " 0") })
	want := []string{`mountwarden_remediation_holds_total{reason="APIError"} 1`, `mountwarden_remediation_holds_total{reason="Budget"} 1`, `mountwarden_remediation_holds_total{reason="GaveUp"} 2`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("holds (-want +got):\n%s", diff)
	}
}

// One node's series are bounded, and the same mounts are shown at each scrape whatever their order.
func TestTooManyMounts(t *testing.T) {
	a := newAgent(t)
	const all, limit = 2300, 2000
	for i := range all {
		a.statuses = append(a.statuses, status(fmt.Sprintf("/%04d", (i*7)%all), verdict.Healthy, fuse("")))
	}
	shown := lines(a.text(t), "mountwarden_mount_healthy")
	if len(shown) != limit {
		t.Errorf("%d mounts have series, want %d", len(shown), limit)
	}
	if got := lines(a.text(t), "mountwarden_mounts_dropped"); got[0] != "mountwarden_mounts_dropped 300" {
		t.Errorf("dropped: %v, want 300", got)
	}
	for i, j := 0, all-1; i < j; i, j = i+1, j-1 {
		a.statuses[i], a.statuses[j] = a.statuses[j], a.statuses[i]
	}
	if diff := cmp.Diff(shown, lines(a.text(t), "mountwarden_mount_healthy")); diff != "" {
		t.Errorf("the next scrape shows other mounts:\n%s", diff)
	}
}

// The API server takes a mountPath of any bytes over protobuf. One such pod must not take the
// node's metrics away.
func TestPathThatIsNoUTF8(t *testing.T) {
	a := newAgent(t)
	for _, path := range []string{"/a\xff", "/a\xfe", "/a\ufffd", "/b\nc", `/d"e\f`} {
		a.statuses = append(a.statuses, status(path, verdict.Failed, fuse("Stale")))
	}
	text := a.text(t)
	if got := lines(text, "mountwarden_mount_healthy"); len(got) != 3 {
		t.Errorf("got %q, want the three paths that are UTF-8", got)
	}
	if got := lines(text, "mountwarden_mounts_dropped"); got[0] != "mountwarden_mounts_dropped 2" {
		t.Errorf("dropped: %v, want 2", got)
	}
}

// A FUSE server chooses its type's name freely.
func TestHostileFSTypesAreOneSeries(t *testing.T) {
	a := newAgent(t)
	for i := range 1000 {
		o := probes.Observation{FSType: fmt.Sprintf("fuse.evil%d\xff", i), Health: probes.Healthy, Operation: probes.OpStatfs}
		a.Observed(o)
		a.statuses = append(a.statuses, status(fmt.Sprint("/", i), verdict.Healthy, o))
	}
	text := a.text(t)
	if got := lines(text, "mountwarden_probes_total"); cmp.Diff([]string{`mountwarden_probes_total{fstype="other",result="Healthy"} 1000`}, got) != "" {
		t.Errorf("probes: %v", got)
	}
	for _, line := range lines(text, "mountwarden_mount_info") {
		if !strings.Contains(line, `fstype="other"`) || !strings.Contains(line, `source_kind="fuse"`) {
			t.Fatalf("info: %s", line)
		}
	}
}

func TestSourceKinds(t *testing.T) {
	a := newAgent(t)
	want := map[string]string{
		"fuse": "fuse", "fuse.sshfs": "fuse", "fuseblk": "block", "nfs": "network", "nfs4": "network", "cifs": "network", "smb3": "network",
		"ceph": "network", "9p": "network", "lustre": "network", "ext4": "block", "xfs": "block", "btrfs": "block", "squashfs": "block",
		"tmpfs": "memory", "ramfs": "memory", "overlay": "other", "made-up": "other",
	}
	for fsType := range want {
		a.statuses = append(a.statuses, status("/"+fsType, verdict.Healthy, probes.Observation{FSType: fsType}))
	}
	text := a.text(t)
	for fsType, kind := range want {
		found := false
		for _, line := range lines(text, "mountwarden_mount_info") {
			if strings.Contains(line, `mountpath="/`+fsType+`"`) {
				found = strings.Contains(line, `source_kind="`+kind+`"`)
			}
		}
		if !found {
			t.Errorf("%s is not shown as %s", fsType, kind)
		}
	}
}

// A probe that made no system call says nothing about the latency of a file system.
func TestDurationsAreOfQuestionsOnly(t *testing.T) {
	a := newAgent(t)
	a.Observed(probes.Observation{Detail: "no process"})
	if got := lines(a.text(t), "mountwarden_probe_duration_seconds_count"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// TestDocumentation holds docs/metrics.md against the metrics; with -update, which go generate
// uses, it writes it.
func TestDocumentation(t *testing.T) {
	a := newAgent(t)
	a.exercise()
	families := a.gather(t)
	var text strings.Builder
	text.WriteString("# Metrics\n\nGenerated by `go generate ./controllers/metrics`; do not edit.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	known := map[string]bool{}
	for _, f := range families {
		var labels []string
		for _, l := range f.Metric[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		known[f.GetName()] = true
		fmt.Fprintf(&text, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, " "), f.GetHelp())
	}
	text.WriteString(labelTable(t, families))
	golden.Check(t, filepath.Join("..", "..", "docs", "metrics.md"), text.String(), *update)
	requireAllKnown(t, a.registry, known)
}

// requireAllKnown checks that no metric stayed silent, and so out of the documentation.
func requireAllKnown(t *testing.T, c prometheus.Collector, known map[string]bool) {
	t.Helper()
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	close(descs)
	n := 0
	for d := range descs {
		_, rest, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		if !known[name] {
			t.Errorf("%s is not documented: have exercise show it", name)
		}
		n++
	}
	if n != len(known) {
		t.Errorf("%d metrics are described, %d documented", n, len(known))
	}
}

// A scrape of a full node, 1,100 mounts under names as long as they come, is no more than 1 MiB.
func TestSizeOfAScrape(t *testing.T) {
	a := newAgent(t)
	for i := range 1100 {
		s := status(fmt.Sprintf("/var/lib/app/data-%d", i%10), verdict.Healthy, probes.Observation{FSType: "fuse.juicefs", Health: probes.Healthy})
		s.Namespace, s.Pod = "analytics-staging", fmt.Sprintf("spark-history-server-7d4b9c66ff-%05d", i/10)
		a.statuses = append(a.statuses, s)
	}
	text := a.text(t)
	if n := len(lines(text, "mountwarden_mount_healthy")); n != 1100 {
		t.Fatalf("%d of 1,100 mounts are shown", n)
	}
	if len(text) > 1<<20 {
		t.Errorf("%d bytes, want at most 1 MiB", len(text))
	}
	t.Logf("%d bytes", len(text))
}
