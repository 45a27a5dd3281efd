package chart

import (
	"bufio"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/test/internal/helm"
)

const (
	chartDir  = "../../charts/mountwarden"
	namespace = "mw"
)

// update has the tests write what they compare with.
var update = flag.Bool("update", false, "write the golden files and the chart's README anew")

// golden compares text with a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil { //nolint:gosec // for people
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is out of date: run `go generate ./chart` in test/ and look at the difference (-file +now):\n%s", path, diff)
	}
}

// objects is what the chart renders to.
type objects struct {
	text      string
	installed []client.Object
	hooks     []client.Object // of `helm test`; they are there only while it runs
}

// every returns the objects of one kind.
func every[T client.Object](all []client.Object) []T {
	var found []T
	for _, o := range all {
		if object, ok := o.(T); ok {
			found = append(found, object)
		}
	}
	return found
}

// only returns the one object of a kind, or nil.
func only[T client.Object](t *testing.T, all []client.Object) T {
	t.Helper()
	found := every[T](all)
	if len(found) > 1 {
		t.Fatalf("%d objects of type %T, want one", len(found), found[0])
	}
	if len(found) == 0 {
		var none T
		return none
	}
	return found[0]
}

func (o objects) daemonSet(t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	set := only[*appsv1.DaemonSet](t, o.installed)
	if set == nil {
		t.Fatal("no DaemonSet")
	}
	return set
}

// agent is the only container.
func (o objects) agent(t *testing.T) corev1.Container {
	t.Helper()
	containers := o.daemonSet(t).Spec.Template.Spec.Containers
	if len(containers) != 1 {
		t.Fatalf("%d containers, want one", len(containers))
	}
	return containers[0]
}

// rules are those of all namespaces, and those of the agents' own, which are none in a dry run.
func (o objects) rules(t *testing.T) (everywhere, own []rbacv1.PolicyRule) {
	t.Helper()
	for _, role := range every[*rbacv1.ClusterRole](o.installed) {
		if !strings.HasSuffix(role.Name, "-metrics") { // that one is the readers'
			everywhere = append(everywhere, role.Rules...)
		}
	}
	if role := only[*rbacv1.Role](t, o.installed); role != nil {
		own = role.Rules
	}
	return everywhere, own
}

// render renders the chart with --set arguments and decodes strictly: a field that Kubernetes does not know is an error.
func render(t *testing.T, set ...string) objects {
	t.Helper()
	text, err := template(t, set...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

func template(t *testing.T, set ...string) (string, error) {
	t.Helper()
	args := []string{"template", "mountwarden", chartDir, "--namespace", namespace}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	return helm.Run(t, args...)
}

// decoder knows the kinds of Kubernetes and of the Prometheus Operator.
func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	kinds := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(kinds), monitoringv1.AddToScheme(kinds)); err != nil {
		t.Fatal(err)
	}
	return serializer.NewCodecFactory(kinds, serializer.EnableStrict).UniversalDeserializer()
}

func decode(t *testing.T, text string) objects {
	t.Helper()
	result := objects{text: text}
	decoder := decoder(t)
	reader := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return result
		}
		if err != nil {
			t.Fatal(err)
		}
		decoded, _, err := decoder.Decode(document, nil, nil)
		object, ok := decoded.(client.Object)
		if err != nil || !ok {
			t.Fatalf("%v\n%s", err, document)
		}
		if object.GetAnnotations()["helm.sh/hook"] != "" {
			result.hooks = append(result.hooks, object)
		} else {
			result.installed = append(result.installed, object)
		}
	}
}
