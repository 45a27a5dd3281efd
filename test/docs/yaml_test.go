package docs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/mountwarden/mountwarden/config"
)

// examples are the manifests of docs/examples, by name.
func examples(t testing.TB) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "docs", "examples", "*.yaml"))
	must(t, err)
	all := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		must(t, err)
		all[filepath.Base(path)] = string(text)
	}
	if len(all) < 10 {
		t.Fatalf("only %d examples", len(all))
	}
	return all
}

// checkYAML tells manifests, values of the chart and parts of a pod from each other by their keys.
func checkYAML(w *world, b block) (problems []string) {
	documents, err := split(b.text)
	if err != nil {
		return []string{err.Error()}
	}
	for _, text := range documents {
		var keys map[string]any
		if err := yaml.Unmarshal(text, &keys); err != nil {
			return append(problems, "no yaml: "+err.Error())
		}
		switch {
		case keys["apiVersion"] != nil:
			problems = append(problems, w.manifest(text)...)
		case all(keys, w.values) && !all(keys, fields[corev1.Container]()):
			problems = append(problems, w.chartValues(text)...)
		default:
			problems = append(problems, w.fragment(b, text, keys)...)
		}
	}
	return problems
}

func split(text string) (documents [][]byte, err error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(string(document)) != "" {
			documents = append(documents, document)
		}
	}
}

// all reports whether every key is among the known ones.
func all(keys map[string]any, known map[string]bool) bool {
	for key := range keys {
		if !known[key] {
			return false
		}
	}
	return len(keys) > 0
}

// manifest is decoded strictly, its annotations are parsed by the agent's parser, and the API server is asked.
func (w *world) manifest(text []byte) []string {
	object, _, err := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer().Decode(text, nil, nil)
	if err != nil {
		return []string{err.Error()}
	}
	problems := w.template(templateOf(object))
	if _, err := w.kubectl(string(text), "create", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
		problems = append(problems, err.Error())
	}
	return problems
}

// templateOf returns the pod that an object makes, nil of one that makes none.
func templateOf(object runtime.Object) *corev1.Pod {
	var t *corev1.PodTemplateSpec
	switch o := object.(type) {
	case *corev1.Pod:
		return o
	case *appsv1.Deployment:
		t = &o.Spec.Template
	case *appsv1.DaemonSet:
		t = &o.Spec.Template
	case *appsv1.StatefulSet:
		t = o.Spec.Template.DeepCopy()
		for _, claim := range o.Spec.VolumeClaimTemplates {
			t.Spec.Volumes = append(t.Spec.Volumes, claimed(claim.Name))
		}
	case *batchv1.Job:
		t = &o.Spec.Template
	default:
		return nil
	}
	return &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec}
}

func claimed(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}
}

// template parses what a pod asks of the agent, and the command lines of its containers that run the agent's image.
func (w *world) template(pod *corev1.Pod) (problems []string) {
	if pod == nil {
		return nil
	}
	policy, err := config.ParsePolicy(pod, config.Default())
	if err != nil {
		problems = append(problems, err.Error())
	}
	if !policy.Watch && len(ours(pod.Annotations)) > 0 {
		problems = append(problems, "it has annotations and does not opt in")
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if strings.Contains(c.Image, "/mountwarden:") {
			problems = append(problems, w.mountwarden(c.Args)...)
		}
	}
	return problems
}

// ours are the annotations that the agent reads.
func ours(annotations map[string]string) map[string]string {
	found := map[string]string{}
	for key, value := range annotations {
		if strings.HasPrefix(key, config.AnnotationPrefix) {
			found[key] = value
		}
	}
	return found
}

// fragment is a part of a pod, of one of its containers or of a Deployment. In the recipes it is what a manifest has.
func (w *world) fragment(b block, text []byte, keys map[string]any) []string {
	patch, err := yaml.YAMLToJSON(text)
	if err != nil {
		return []string{err.Error()}
	}
	switch spec, _ := keys["spec"].(map[string]any); {
	case b.page == "docs/recipes.md":
		return w.ofRecipe(b, keys)
	case spec["template"] != nil:
		return w.fragment(b, []byte(jsonOf(spec["template"])), spec["template"].(map[string]any)) //nolint:forcetypeassert // a test of the docs
	case all(keys, fields[corev1.Pod]()):
	case all(keys, fields[corev1.PodSpec]()):
		patch = []byte(`{"spec":` + string(patch) + `}`)
	case all(keys, fields[corev1.Container]()):
		patch = []byte(`{"spec":{"containers":[` + jsonOf(named(keys)) + `]}}`)
	default:
		return []string{"neither a manifest nor values of the chart nor a part of a pod"}
	}
	return w.patched(patch)
}

// named gives a part of a container the name of the base's.
func named(keys map[string]any) map[string]any {
	keys["name"] = "app"
	return keys
}

// patched puts a fragment into a pod and has that checked as a manifest.
func (w *world) patched(patch []byte) []string {
	base := jsonOf(corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "fragment"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "app", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}}},
			Volumes:    []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "a", Path: "/"}}}},
		},
	})
	merged, err := strategicpatch.StrategicMergePatch([]byte(base), patch, corev1.Pod{})
	if err != nil {
		return []string{err.Error()}
	}
	pod := corev1.Pod{}
	if err := yaml.UnmarshalStrict(merged, &pod); err != nil {
		return []string{err.Error()}
	}
	for _, c := range pod.Spec.InitContainers { // its volumes are where the page says so
		for _, m := range c.VolumeMounts {
			if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
				pod.Spec.Volumes = append(pod.Spec.Volumes, claimed(m.Name))
			}
		}
	}
	return w.manifest([]byte(jsonOf(pod)))
}

// ofRecipe compares annotations with the manifests that the section leads to.
func (w *world) ofRecipe(b block, keys map[string]any) (problems []string) {
	said := jsonOf(keys["metadata"])
	for _, name := range w.linked[b.section] {
		documents, err := split(w.examples[name])
		if err != nil {
			return []string{err.Error()}
		}
		for _, text := range documents {
			object, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
			if err != nil {
				return []string{err.Error()}
			}
			if pod := templateOf(object); pod != nil && jsonOf(map[string]any{"annotations": pod.Annotations}) == said {
				return nil
			}
		}
	}
	return []string{fmt.Sprintf("none of the manifests %v of this section has these annotations", w.linked[b.section])}
}

// fields are the names that a type has in YAML.
func fields[T any]() map[string]bool {
	found := map[string]bool{}
	of := reflect.TypeFor[T]()
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			found[name] = true
		}
	}
	return found
}

// jsonOf is for what came from YAML or is a type of the API, which JSON can always say.
func jsonOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error() // nothing decodes it
	}
	return string(text)
}
