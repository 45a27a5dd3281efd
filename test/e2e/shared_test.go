package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/test/world"
)

// The kubelet stages a volume once a node, and unstages it when no pod there uses it any more: who shares the broken mount goes together.
func TestPodsThatShareAStagedVolumeGoTogether(t *testing.T) {
	t.Parallel()
	s := newDriverScene(t, "--stage")
	claim := s.claim()
	a, b := s.consumer("a", claim), s.consumer("b", claim)
	s.watched(&a, "data")
	s.watched(&b, "data")

	s.killStaged(&a, claim)
	s.ended(&a, true)
	s.ended(&b, true)
	apart := s.history.Life(a.UID).Ending.Sub(s.history.Life(b.UID).Ending).Abs()
	t.Logf("evicted %s apart", apart.Round(time.Millisecond))
	for _, pod := range []*corev1.Pod{&a, &b} {
		successor := s.healed(pod)
		s.watched(successor, "data")
		s.event(successor, "SuccessorHealthy")
	}
	s.stages()
}

func TestANeighbourKeepsASharedMountInUse(t *testing.T) {
	t.Parallel()
	s := newDriverScene(t, "--stage")
	claim := s.claim()
	a, b := s.consumer("a", claim), s.consumer("b", claim, "mode", "Report")
	s.watched(&a, "data")
	s.watched(&b, "data")

	s.killStaged(&a, claim)
	if note := s.held(&a, "SharedVolume").Note; !strings.Contains(note, b.Name) {
		t.Errorf("the event does not name the neighbour: %s", note)
	}
	s.staysFor(15*time.Second, a, b)
	none := []byte(`{"spec":{"replicas":0}}`)
	_, err := s.Client.AppsV1().Deployments(s.namespace).Patch(s.ctx, "b", types.MergePatchType, none, metav1.PatchOptions{})
	must(t, err)
	s.ended(&a, true)
	s.healed(&a)
	s.stages()
}

// claim makes a volume of the scene's driver and a claim that is bound to it, and returns the name of both.
func (s *scene) claim() string {
	s.Helper()
	name := s.namespace + "-shared"
	space := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}
	none := ""
	_, err := s.Client.CoreV1().PersistentVolumes().Create(s.ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: space, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: s.driver.Name, VolumeHandle: name, VolumeAttributes: map[string]string{"content": world.Canary},
			}},
		},
	}, metav1.CreateOptions{})
	must(s.T, err)
	s.Cleanup(func() {
		if err := s.Client.CoreV1().PersistentVolumes().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			s.Error(err)
		}
	})
	_, err = s.Client.CoreV1().PersistentVolumeClaims(s.namespace).Create(s.ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}, StorageClassName: &none, VolumeName: name,
			Resources: corev1.VolumeResourceRequirements{Requests: space},
		},
	}, metav1.CreateOptions{})
	must(s.T, err)
	return name
}

// consumer deploys an app whose volume "data" is the claim.
func (s *scene) consumer(name, claim string, annotations ...string) corev1.Pod {
	s.Helper()
	return s.deploy(world.App{Name: name, Annotations: world.Watched(annotations...), Adapt: func(spec *corev1.PodSpec) {
		spec.Volumes[0].VolumeSource = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}
	}})[0]
}

// killStaged ends the one server behind the volume, and sees the breakage from inside a pod.
func (s *scene) killStaged(pod *corev1.Pod, volume string) {
	s.Helper()
	breakage, err := s.Lookout(s.within(patience), pod, "app", "data")
	must(s.T, err)
	must(s.T, s.driver.Fault(s.ctx, pod, volume, "kill"))
	_, _, err = breakage.Wait()
	must(s.T, err)
}

// stages logs what the kubelet asked of the driver: only it tells when a volume was unstaged.
func (s *scene) stages() {
	s.Helper()
	text, err := s.driver.Log(s.ctx)
	must(s.T, err)
	for line := range strings.Lines(text) {
		var at, method string
		for word := range strings.FieldsSeq(line) {
			if v, ok := strings.CutPrefix(word, "time="); ok {
				at = v
			}
			if v, ok := strings.CutPrefix(word, "method=/csi.v1.Node/"); ok {
				method = v
			}
		}
		if strings.HasSuffix(method, "Volume") {
			s.Logf("%s %s failed=%t", at, method, strings.Contains(line, "call failed"))
		}
	}
}
