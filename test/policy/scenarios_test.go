package policy

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"github.com/mountwarden/mountwarden/test/internal/helm"
)

// server takes objects of any kind.
type server struct {
	client dynamic.Interface
	mapper meta.RESTMapper
}

func newServer(t *testing.T, c *cluster) server {
	t.Helper()
	resources, err := restmapper.GetAPIGroupResources(c.api.Client.Discovery())
	must(t, err)
	client, err := dynamic.NewForConfig(c.api.Config)
	must(t, err)
	return server{client: client, mapper: restmapper.NewDiscoveryRESTMapper(resources)}
}

// dryRun has the API server validate an object, admit it, and forget it.
func (s server) dryRun(t *testing.T, object *unstructured.Unstructured) error {
	t.Helper()
	return s.create(t, object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

// create makes an object; a field that its kind does not have is an error.
func (s server) create(t *testing.T, object *unstructured.Unstructured, options metav1.CreateOptions) error {
	t.Helper()
	kind := object.GroupVersionKind()
	mapping, err := s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	options.FieldValidation = metav1.FieldValidationStrict
	_, err = s.client.Resource(mapping.Resource).Namespace(object.GetNamespace()).Create(t.Context(), object, options)
	return err
}

// objects decodes what helm has rendered, without the kinds of the Prometheus Operator, which a plain API server does not know.
func objects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := documents.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		if object.Object != nil && object.GroupVersionKind().Group != "monitoring.coreos.com" {
			all = append(all, object)
		}
	}
}

func TestAPIServerAndTheChart(t *testing.T) {
	c := newCluster(t)
	c.namespace("grafana") // of the scenario monitoring
	s := newServer(t, c)
	t.Run("takes every scenario", s.takesEveryScenario)
	t.Run("refuses what is wrong", s.refuses)
	t.Run("lets the hook ask the agents", func(t *testing.T) { hook(t, c, s) }) // last, since it leaves objects behind
}

// A real API server takes all that the chart renders, hooks included, in each of its scenarios.
func (s server) takesEveryScenario(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	must(t, err)
	taken := 0
	for _, file := range files {
		text, err := helm.Run(t, "template", "mountwarden", chartDir, "--namespace", home, "--values", file)
		must(t, err)
		for _, object := range objects(t, text) {
			if err := s.dryRun(t, object); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Errorf("%s: %s %s: %v", filepath.Base(file), object.GetKind(), object.GetName(), err)
			}
			taken++
		}
	}
	if len(files) < 10 || taken < 10*len(files) {
		t.Errorf("only %d objects of %d scenarios", taken, len(files))
	}
}

// What is refused: else the test above would say nothing.
func (s server) refuses(t *testing.T) {
	text := render(t)
	for name, change := range map[string]func(*unstructured.Unstructured){
		"an unknown field": func(o *unstructured.Unstructured) { o.Object["nosuch"] = "field" },
		"an expression with an unknown variable": func(o *unstructured.Unstructured) {
			must(t, unstructured.SetNestedSlice(o.Object, []any{map[string]any{"expression": "variables.nosuch == ''"}}, "spec", "validations"))
		},
		"an unknown namespace": func(o *unstructured.Unstructured) {
			*o = unstructured.Unstructured{}
			o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
			o.SetName("a")
			o.SetNamespace("nowhere")
		},
	} {
		object := objects(t, text)[0]
		change(object)
		if err := s.dryRun(t, object); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
