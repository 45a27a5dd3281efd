package chart

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/mountwarden/mountwarden/test/internal/helm"
)

const chartDir = "../../charts/mountwarden"

// objects is what the chart renders to.
type objects struct {
	text      string
	daemonSet *appsv1.DaemonSet
	configMap *corev1.ConfigMap
	account   *corev1.ServiceAccount
	role      *rbacv1.ClusterRole
	binding   *rbacv1.ClusterRoleBinding
	foreign   []string // kinds that client-go does not know

	ownRole    *rbacv1.Role // in the agents' namespace; nil in a dry run
	ownBinding *rbacv1.RoleBinding

	policies []*admissionv1.ValidatingAdmissionPolicy
	bound    []string // names of the policies that are bound
}

// ownRules are the rules for the agents' namespace.
func (o objects) ownRules() []rbacv1.PolicyRule {
	if o.ownRole == nil {
		return nil
	}
	return o.ownRole.Rules
}

// agent is the only container.
func (o objects) agent(t *testing.T) corev1.Container {
	t.Helper()
	containers := o.daemonSet.Spec.Template.Spec.Containers
	if len(containers) != 1 {
		t.Fatalf("%d containers, want one", len(containers))
	}
	return containers[0]
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
	args := []string{"template", "mountwarden", chartDir, "--namespace", "mw"}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	return helm.Run(t, args...)
}

func decode(t *testing.T, text string) objects {
	t.Helper()
	result := objects{text: text}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	reader := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return result
		}
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(document, nil, nil)
		switch {
		case runtime.IsNotRegisteredError(err):
			result.foreign = append(result.foreign, kindOf(t, document))
		case err != nil:
			t.Fatalf("%v\n%s", err, document)
		default:
			result.keep(t, object)
		}
	}
}

func kindOf(t *testing.T, document []byte) string {
	t.Helper()
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal(document, &meta); err != nil {
		t.Fatal(err)
	}
	return meta.Kind
}

func (o *objects) keep(t *testing.T, object runtime.Object) {
	t.Helper()
	switch object := object.(type) {
	case *appsv1.DaemonSet:
		o.daemonSet = object
	case *corev1.ConfigMap:
		o.configMap = object
	case *corev1.ServiceAccount:
		o.account = object
	case *rbacv1.ClusterRole:
		o.role = object
	case *rbacv1.ClusterRoleBinding:
		o.binding = object
	case *rbacv1.Role:
		o.ownRole = object
	case *rbacv1.RoleBinding:
		o.ownBinding = object
	case *admissionv1.ValidatingAdmissionPolicy:
		o.policies = append(o.policies, object)
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		o.bound = append(o.bound, object.Spec.PolicyName)
	default:
		t.Fatalf("the chart renders a %T, which no test looks at", object)
	}
}
