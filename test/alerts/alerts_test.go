package alerts

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
)

// story is what is scraped minute by minute, and which alerts it raises.
type story struct {
	name   string
	series string // as promtool's input_series, beside everyone's; nobody has none at all
	at     time.Duration
	firing []string // "Alert label=value …" of each that fires then, without the severity
}

const mount = `{namespace="shop",pod="web-1",container="app",volume="data",mountpath="/data",node="n1"`

// nobody is a cluster without agents.
const nobody = `  up{job="other"} 1x120`

// everyone is what a healthy cluster has.
const everyone = `  mountwarden_build_info{node="n1",version="1",kernel="6"} 1x120
  mountwarden_build_info{node="n2",version="1",kernel="6"} 1x120
  mountwarden_probes_parked{node="n1"} 0x120
  mountwarden_pods_stuck_terminating{node="n1"} 0x120
  mountwarden_pods_invalid_policy{node="n1"} 0x120
  mountwarden_capability_available{node="n1",capability="KILL"} 1x120
  mountwarden_mount_healthy` + mount + `} 1x120
  mountwarden_mount_state` + mount + `,state="Healthy",cause=""} 1x120
  mountwarden_remediation_aftermaths_total{node="n1",aftermath="Healed"} 0x30 1x90
  mountwarden_remediation_aftermaths_total{node="n1",aftermath="StillBroken"} 0x120
  kube_daemonset_status_desired_number_scheduled{namespace="mw",daemonset="mountwarden"} 2x120
  kube_daemonset_status_number_ready{namespace="mw",daemonset="mountwarden"} 2x120
`

func stories() []story {
	const other = `{namespace="shop",pod="db-1",container="app",volume="data",mountpath="/data",node="n2"`
	const where = " container=app mountpath=/data namespace=shop node=n2 pod=db-1"
	held := func(reason, values string) string {
		return "mountwarden_remediations_held{node=\"n2\",reason=\"" + reason + "\"} " + values
	}
	return []story{
		{"all is well", "", 90 * time.Minute, nil},
		{"no agent", nobody, 12 * time.Minute, []string{"MountwardenAgentsNotScraped"}},
		{"no agent for a moment", nobody, 5 * time.Minute, nil},

		{"a mount is dead", "mountwarden_mount_healthy" + other + "} 1x5 0x60", 17 * time.Minute, []string{"MountwardenMountUnhealthy" + where + " volume=data"}},
		{"a mount was dead for a moment", "mountwarden_mount_healthy" + other + "} 1x5 0x60", 12 * time.Minute, nil},
		{"a mount died and its pod was replaced", "mountwarden_mount_healthy" + other + "} 1x5 0x3 _x60", 30 * time.Minute, nil},
		{"a mount is dead, then healthy, then dead", "mountwarden_mount_healthy" + other + "} 0x8 1x2 0x5", 15 * time.Minute, nil},

		{"nothing is known of a mount", "mountwarden_mount_state" + other + `,state="Unknown",cause=""} 1x60`, 31 * time.Minute, []string{"MountwardenMountUnjudged" + where + " volume=data"}},
		{"a mount is new", "mountwarden_mount_state" + other + `,state="Unknown",cause=""} 1x2 _x60`, 31 * time.Minute, nil},
		{"why a mount is unknown changes", "mountwarden_mount_state" + other + `,state="Unknown",cause=""} 1x15 _x60` + "\n  mountwarden_mount_state" + other +
			`,state="Unknown",cause="Hung"} _x15 1x60`, 35 * time.Minute, []string{"MountwardenMountUnjudged" + where + " volume=data"}},
		{"a volume is full", "mountwarden_mount_warning" + other + `,warning="NoSpace"} 1x60`, 16 * time.Minute, []string{"MountwardenMountWarning" + where + " volume=data warning=NoSpace"}},

		{"a pod is held", held("NoFreshMount", "0x5 2x60"), 25 * time.Minute, []string{"MountwardenRemediationHeld node=n2 reason=NoFreshMount"}},
		{"a budget blocks", held("Budget", "1x60"), 16 * time.Minute, []string{"MountwardenRemediationHeld node=n2 reason=Budget"}},
		{"a pod waits for its turn", held("OwnerBusy", "1x10 0x60"), 20 * time.Minute, nil},
		{"a person said so", held("Paused", "1x60") + "\n  " + held("ReportMode", "1x60") + "\n  " + held("DryRun", "1x60"), 60 * time.Minute, nil},
		{"one reason after another", held("Backoff", "1x8 0x60") + "\n  " + held("OwnerBusy", "0x8 1x8 0x60"), 17 * time.Minute, nil},
		{"gave up", held("GaveUp", "0x5 1x60"), 8 * time.Minute, []string{"MountwardenGaveUp node=n2"}},

		{"a backend is down", `mountwarden_backend_breaker_open{node="n1",kind="CSI"} 1x60`, 6 * time.Minute, []string{"MountwardenBackendBreakerOpen kind=CSI"}},
		{"a backend was tried", `mountwarden_backend_breaker_open{node="n1",kind="CSI"} 1x3 0x60`, 6 * time.Minute, nil},
		{"a backend is closed", `mountwarden_backend_breaker_open{node="n1",kind="NFS"} 0x60`, 60 * time.Minute, nil},

		{"a pod does not end", `mountwarden_pods_stuck_terminating{node="n2"} 0x5 1x60`, 12 * time.Minute, []string{"MountwardenPodStuckTerminating node=n2"}},
		{"a pod ended late", `mountwarden_pods_stuck_terminating{node="n2"} 0x5 1x3 0x60`, 12 * time.Minute, nil},

		{"a successor is broken", `mountwarden_remediation_aftermaths_total{node="n2",aftermath="StillBroken"} 0x10 1x60`, 12 * time.Minute, []string{"MountwardenSuccessorUnhealthy aftermath=StillBroken"}},
		{"nobody made a new pod", `mountwarden_remediation_aftermaths_total{node="n2",aftermath="NoSuccessor"} 3x10 4x60`, 30 * time.Minute, []string{"MountwardenSuccessorUnhealthy aftermath=NoSuccessor"}},
		{"a successor was broken long ago", `mountwarden_remediation_aftermaths_total{node="n2",aftermath="StillBroken"} 0x10 1x60`, 50 * time.Minute, nil},
		{"many successors are healthy", `mountwarden_remediation_aftermaths_total{node="n2",aftermath="Healed"} 0+1x60`, 50 * time.Minute, nil},

		{"many looks hang", `mountwarden_probes_parked{node="n2"} 0x5 32x60`, 17 * time.Minute, []string{"MountwardenProbesParked node=n2"}},
		{"some looks hang", `mountwarden_probes_parked{node="n2"} 0x5 31x60`, 60 * time.Minute, nil},

		{"an annotation is not understood", `mountwarden_pods_invalid_policy{node="n2"} 0x5 2x60`, 16 * time.Minute, []string{"MountwardenInvalidPolicy node=n2"}},
		{"an annotation was mended", `mountwarden_pods_invalid_policy{node="n2"} 0x5 2x5 0x60`, 16 * time.Minute, nil},
		{"a capability is missing", `mountwarden_capability_available{node="n2",capability="KILL"} 0x60`, 16 * time.Minute, []string{"MountwardenCapabilityMissing capability=KILL node=n2"}},
		{"a capability was given back", `mountwarden_capability_available{node="n2",capability="KILL"} 0x5 1x60`, 16 * time.Minute, nil},

		{"a node has no ready agent", `kube_daemonset_status_desired_number_scheduled{namespace="other",daemonset="mountwarden"} 1x60`, 30 * time.Minute, nil},
	}
}

// firing returns what fires at a time, by name and labels, and looks at what it tells.
func firing(t *testing.T, series string, at time.Duration) []string {
	t.Helper()
	p := newPrometheus(t, series)
	var got []string
	for _, a := range chartRules(t) {
		hold, err := model.ParseDuration(a.For)
		must(t, err)
		for _, held := range p.heldFor(t, a.Expr, time.Duration(hold), at) {
			got = append(got, strings.TrimSpace(a.Alert+" "+words(held.Metric.Map())))
			for key, text := range a.Annotations {
				told := expand(t, text, held)
				if strings.Contains(told, "<no value>") || strings.Contains(told, "  ") || told == "" {
					t.Errorf("%s: the annotation %s is %q", a.Alert, key, told)
				}
			}
		}
	}
	slices.Sort(got)
	return got
}

// words are labels for people.
func words(all map[string]string) string {
	var text []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		text = append(text, key+"="+all[key])
	}
	return strings.Join(text, " ")
}

// expand fills in an annotation as Prometheus does for the label set of an alert.
func expand(t *testing.T, text string, held promql.Sample) string {
	t.Helper()
	const begin = "{{$labels := .Labels}}{{$value := .Value}}"
	noQuery := func(context.Context, string, time.Time) (promql.Vector, error) {
		return nil, errors.New("the chart's templates ask nothing")
	}
	data := template.AlertTemplateData(held.Metric.Map(), nil, "", held)
	told, err := template.NewTemplateExpander(t.Context(), begin+text, "annotation", data, model.Time(held.T), noQuery, &url.URL{}, nil).Expand()
	must(t, err)
	return told
}

// Each story raises its alerts and no other.
func TestAlerts(t *testing.T) {
	raised := map[string]bool{}
	for _, s := range stories() {
		series := everyone + "  " + s.series + "\n"
		if s.series == nobody {
			series = nobody
		}
		got := firing(t, series, s.at)
		if !slices.Equal(got, s.firing) {
			t.Errorf("%s: %q, want %q", s.name, got, s.firing)
		}
		for _, a := range s.firing {
			name, _, _ := strings.Cut(a, " ")
			raised[name] = true
		}
	}
	for _, a := range chartRules(t) {
		if !raised[a.Alert] && a.Alert != "MountwardenAgentAbsent" {
			t.Errorf("no story raises %s", a.Alert)
		}
	}
}

// An agent that is missing or not ready is counted against what its DaemonSet wants.
func TestAgentAbsent(t *testing.T) {
	series := strings.Replace(everyone, `number_ready{namespace="mw",daemonset="mountwarden"} 2x120`, `number_ready{namespace="mw",daemonset="mountwarden"} 2x5 1x120`, 1)
	for at, want := range map[time.Duration][]string{
		15 * time.Minute: nil,
		22 * time.Minute: {"MountwardenAgentAbsent daemonset=mountwarden namespace=mw"},
	} {
		if got := firing(t, series, at); !slices.Equal(got, want) {
			t.Errorf("after %s: %q, want %q", at, got, want)
		}
	}
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	for _, a := range chartRules(t) {
		for _, key := range []string{"summary", "description", "runbook_url"} {
			if a.Annotations[key] == "" {
				t.Errorf("%s has no %s", a.Alert, key)
			}
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		}
		if !strings.HasSuffix(a.Annotations["runbook_url"], "/"+a.Alert+".md") {
			t.Errorf("%s: runbook %s", a.Alert, a.Annotations["runbook_url"])
		}
	}
}
