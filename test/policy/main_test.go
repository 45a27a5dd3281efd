package policy

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mountwarden/mountwarden/test/internal/apiserver"
	"github.com/mountwarden/mountwarden/test/internal/helm"
	"github.com/mountwarden/mountwarden/test/internal/tool"
)

const (
	chartDir = "../../charts/mountwarden"
	home     = "mountwarden" // namespace of the agents
	account  = "mountwarden" // their ServiceAccount
	stranger = "stranger"    // another one, with the same rights
	nodeA    = "node-a"
	nodeB    = "node-b"
)

// cluster is an API server with two nodes.
type cluster struct {
	t    *testing.T
	api  *apiserver.Server
	made int
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	api, err := apiserver.Start(t.Context(), apiserver.Options{
		Etcd: program(t, "etcd"), APIServer: program(t, "kube-apiserver"), Dir: t.TempDir(),
		Arguments: []string{"--allow-privileged"}, // as every cluster has it that runs CSI drivers
	})
	must(t, err)
	t.Cleanup(api.Stop)
	c := &cluster{t: t, api: api}
	for _, name := range []string{nodeA, nodeB} {
		_, err := api.Client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	c.namespace(home)
	for _, name := range []string{account, stranger} {
		_, err := api.Client.CoreV1().ServiceAccounts(home).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	c.grant()
	return c
}

// grant gives both accounts more than the chart does: it is the policies that are tested, not RBAC.
func (c *cluster) grant() {
	c.t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "pods"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods", "pods/status", "pods/eviction"}, Verbs: []string{"*"}},
	}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "pods"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: home, Name: account}, {Kind: "ServiceAccount", Namespace: home, Name: stranger}},
	}
	_, err := c.api.Client.RbacV1().ClusterRoles().Create(c.t.Context(), role, metav1.CreateOptions{})
	must(c.t, err)
	_, err = c.api.Client.RbacV1().ClusterRoleBindings().Create(c.t.Context(), binding, metav1.CreateOptions{})
	must(c.t, err)
}

func (c *cluster) namespace(name string) {
	c.t.Helper()
	_, err := c.api.Client.CoreV1().Namespaces().Create(c.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	must(c.t, err)
}

// podOn is a pod of a node.
func podOn(namespace, name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}

// pod makes a pod on a node ("": on none yet) with a value of the annotation that opts in ("": without).
func (c *cluster) pod(namespace, node, watch string) *corev1.Pod {
	c.t.Helper()
	c.made++
	pod := podOn(namespace, fmt.Sprintf("pod-%d", c.made), node)
	if watch != "" {
		pod.Annotations = map[string]string{"mountwarden.io/watch": watch}
	}
	pod, err := c.api.Client.CoreV1().Pods(namespace).Create(c.t.Context(), pod, metav1.CreateOptions{})
	must(c.t, err)
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, "10.1.1.1", []corev1.PodIP{{IP: "10.1.1.1"}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	pod, err = c.api.Client.CoreV1().Pods(namespace).UpdateStatus(c.t.Context(), pod, metav1.UpdateOptions{})
	must(c.t, err)
	return pod
}

// as returns a client with a token of the account: of its pod on the node, or of no pod.
func (c *cluster) as(account, node string) kubernetes.Interface {
	c.t.Helper()
	request := &authenticationv1.TokenRequest{}
	if node != "" {
		pod := podOn(home, account+"-"+node, node)
		pod.Spec.ServiceAccountName = account
		pod, err := c.api.Client.CoreV1().Pods(home).Create(c.t.Context(), pod, metav1.CreateOptions{})
		must(c.t, err)
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	}
	answer, err := c.api.Client.CoreV1().ServiceAccounts(home).CreateToken(c.t.Context(), account, request, metav1.CreateOptions{})
	must(c.t, err)
	client, err := kubernetes.NewForConfig(c.api.As(answer.Status.Token))
	must(c.t, err)
	return client
}

// impersonating returns a client of the administrator's who says that he is the account, and not on which node.
func (c *cluster) impersonating(account string) kubernetes.Interface {
	c.t.Helper()
	config := rest.CopyConfig(c.api.Config)
	config.Impersonate.UserName = "system:serviceaccount:" + home + ":" + account
	client, err := kubernetes.NewForConfig(config)
	must(c.t, err)
	return client
}

// install applies the chart's policies as helm renders them. They take a while to become active.
func (c *cluster) install(set ...string) {
	c.t.Helper()
	c.kubectl(render(c.t, set...), "apply", "-f", "-")
}

func (c *cluster) kubectl(input string, args ...string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), program(c.t, "kubectl"), append([]string{"--kubeconfig", c.api.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
}

func render(t testing.TB, set ...string) string {
	t.Helper()
	args := []string{"template", "mountwarden", chartDir, "--namespace", home, "--show-only", "templates/policies.yaml"}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	text, err := helm.Run(t, args...)
	must(t, err)
	return text
}

// program returns where one of the pinned programs is.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := tool.Path(t.Context(), name)
	must(t, err)
	return path
}

// patch changes a pod, or with "status" its status.
func patch(client kubernetes.Interface, pod *corev1.Pod, body string, subresource ...string) error {
	_, err := client.CoreV1().Pods(pod.Namespace).Patch(context.Background(), pod.Name, types.StrategicMergePatchType, []byte(body), metav1.PatchOptions{}, subresource...)
	return err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
