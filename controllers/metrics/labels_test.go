package metrics_test

import (
	"fmt"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/events"
)

// label is one that series have, and what its value may be.
type label struct{ name, values string }

// labels lists all, in the order in which a person reads of them.
func labels() []label {
	const ofMount = "of the watched mount: names that the pod's owner chose"
	return []label{
		{"namespace", ofMount}, {"pod", ofMount}, {"container", ofMount}, {"volume", ofMount}, {"mountpath", ofMount},
		{"state", list(verdict.Healthy.String(), verdict.Suspect.String(), verdict.Failed.String(), probes.Unknown.String())},
		{"cause", list(probes.Causes()...) + "; empty where there is none"},
		{"warning", list(probes.Warnings()...)},
		{"result", list(probes.Healthy.String(), probes.Unknown.String()) + ", or a cause"},
		{"trigger", list(probes.Triggers()...)},
		{"action", list(config.ActionEvict, config.ActionDelete)},
		{"outcome", list(controllers.OutcomeEvicted, controllers.OutcomeDeleted, controllers.OutcomeGone, controllers.OutcomeHeld, controllers.OutcomeBlocked,
			controllers.OutcomeHealthy, controllers.OutcomeFailed)},
		{"reason", "one of [the reasons to hold a pod](remediation.md#the-reasons-to-hold-a-pod)"},
		{"aftermath", list(controllers.Aftermaths()...)},
		{"phase", list(controllers.PhaseAct, controllers.PhaseTerminate, controllers.PhaseHeal, controllers.PhaseTotal)},
		{"kind", list(probes.BackendCSI, probes.BackendNFS, probes.BackendHost, probes.BackendPod, probes.BackendSource)},
		{"fstype", "of the mount table, such as `fuse.rclone` or `nfs4`; `other` for a type that is not known"},
		{"source_kind", list("fuse", "network", "block", "memory", "other")},
		{"source", list(events.SourceFanotify, events.SourceMountinfo, events.SourceFUSE, events.SourceExt4)},
		{"capability", list("SYS_PTRACE", "DAC_READ_SEARCH", "SETUID", "SETGID", "KILL")},
		{"version", "of the agent"}, {"kernel", "its release, such as `6.12.57`"},
	}
}

func list[T ~string](values ...T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = "`" + string(v) + "`"
	}
	return strings.Join(texts, ", ")
}

// labelTable lists the labels as Markdown. Each of the families' must be among them, and no other.
func labelTable(t *testing.T, families []*dto.MetricFamily) string {
	t.Helper()
	used := map[string]bool{}
	for _, f := range families {
		for _, l := range f.Metric[0].GetLabel() {
			used[l.GetName()] = true
		}
	}
	var text strings.Builder
	text.WriteString("\n## Labels\n\n| label | values |\n|---|---|\n")
	for _, l := range labels() {
		if !used[l.name] {
			t.Errorf("no metric has the label %s", l.name)
		}
		delete(used, l.name)
		fmt.Fprintf(&text, "| `%s` | %s |\n", l.name, l.values)
	}
	for name := range used {
		t.Errorf("it is not told what the label %s may be", name)
	}
	return text.String()
}
