package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/mountwarden/mountwarden/test/internal/helm"
)

// What a user is told after the installation follows the values.
func TestNotes(t *testing.T) {
	const optIn, label = `mountwarden.io/watch: "true"`, "kubectl label namespace mw pod-security.kubernetes.io/enforce=privileged"
	for _, tc := range []struct {
		set       string
		told, not []string
	}{
		{"", []string{optIn, label, "is replaced", "helm test warden -n mw"}, []string{"DRY RUN", "WARNING", "Only namespaces", "Grant the rights"}},
		{"config.dryRun=true", []string{optIn, "DRY RUN", "would be done"}, []string{"is replaced"}},
		{"config.defaults.mode=Report", []string{"mountwarden.io/mode: Remediate"}, []string{"is replaced"}},
		{"config.limits.namespaceSelector=team", []string{"Only namespaces with the labels team may opt in."}, nil},
		{"ownNodePolicies.enabled=false", []string{"WARNING: without ownNodePolicies"}, nil},
		{"rbac.create=false", []string{"Grant the rights yourself"}, nil},
		{"helmTest.enabled=false", []string{optIn}, []string{"helm test"}},
	} {
		text, err := helm.Run(t, "install", "warden", chartDir, "--dry-run=client", "--namespace", namespace, "--set", tc.set)
		if err != nil {
			t.Fatal(err)
		}
		_, notes, _ := strings.Cut(text, "\nNOTES:\n")
		for _, words := range tc.told {
			if !strings.Contains(notes, words) {
				t.Errorf("%s: the notes do not say %q:\n%s", tc.set, words, notes)
			}
		}
		for _, words := range tc.not {
			if strings.Contains(notes, words) {
				t.Errorf("%s: the notes say %q", tc.set, words)
			}
		}
	}
}

// What registries of charts show is what the chart installs.
func TestAnnotationsOfTheChart(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDir, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var chart struct {
		Version     string
		AppVersion  string `yaml:"appVersion"`
		Annotations map[string]string
	}
	if err := yaml.Unmarshal(text, &chart); err != nil {
		t.Fatal(err)
	}
	if chart.AppVersion != "v"+chart.Version {
		t.Errorf("appVersion is %s of version %s: releases and their images are tagged vX.Y.Z", chart.AppVersion, chart.Version)
	}
	var images []struct{ Name, Image string }
	if err := yaml.Unmarshal([]byte(chart.Annotations["artifacthub.io/images"]), &images); err != nil {
		t.Fatal(err)
	}
	if want := render(t).agent(t).Image; len(images) != 1 || images[0].Image != want {
		t.Errorf("lists %+v, installs %s", images, want)
	}
	if early := strings.HasPrefix(chart.Version, "0."); (chart.Annotations["artifacthub.io/prerelease"] == "true") != early {
		t.Errorf("version %s: prerelease %q", chart.Version, chart.Annotations["artifacthub.io/prerelease"])
	}
}
