package apitest

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
)

// Node is the node that pods are bound to.
const Node = "node-1"

// NewPod returns a pod that opted in: bound to Node, controlled by a ReplicaSet, with the container
// app that mounts the volume data at /data. It is not created.
func NewPod(namespace, name string) *corev1.Pod {
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Labels:      map[string]string{"app": name},
			Annotations: map[string]string{config.AnnotationWatch: "true"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name + "-owner", UID: types.UID("owner-of-" + name), Controller: &yes,
			}},
		},
		Spec: corev1.PodSpec{
			NodeName: Node,
			Volumes:  []corev1.Volume{Volume("data")},
			Containers: []corev1.Container{{
				Name: "app", Image: "app", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "secret"}},
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			}},
		},
	}
}

// Volume returns a CSI ephemeral volume, which is watched by default.
func Volume(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "fuse.csi.example"}}}
}

// Run creates the pod and writes the status that a kubelet would: the pod and each container run.
// It returns the pod as the API server has it.
func (s *Server) Run(t testing.TB, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	ctx := Context(t)
	created, err := s.Client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	created.Status = Running(pod)
	created, err = s.Client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, created, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// Running returns the status of a pod that has been up for an hour.
func Running(pod *corev1.Pod) corev1.PodStatus {
	status := corev1.PodStatus{Phase: corev1.PodRunning}
	for _, c := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, ContainerID: "containerd://" + c.Name + "-id",
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now().Add(-time.Hour))}},
		})
	}
	return status
}

// Get returns the pod as the API server has it.
func (s *Server) Get(t testing.TB, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	live, err := s.Client.CoreV1().Pods(pod.Namespace).Get(Context(t), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// Change applies change to the pod as the API server has it.
func (s *Server) Change(t testing.TB, pod *corev1.Pod, change func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	live := s.Get(t, pod)
	change(live)
	live, err := s.Client.CoreV1().Pods(pod.Namespace).Update(Context(t), live, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// ChangeStatus applies change to the pod's status.
func (s *Server) ChangeStatus(t testing.TB, pod *corev1.Pod, change func(*corev1.PodStatus)) *corev1.Pod {
	t.Helper()
	live := s.Get(t, pod)
	change(&live.Status)
	live, err := s.Client.CoreV1().Pods(pod.Namespace).UpdateStatus(Context(t), live, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// Delete deletes the pod with its own grace period. Without a kubelet it stays as terminating.
func (s *Server) Delete(t testing.TB, pod *corev1.Pod) {
	t.Helper()
	if err := s.Client.CoreV1().Pods(pod.Namespace).Delete(Context(t), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Vanish deletes the pod at once, as a kubelet does when all its containers have ended.
func (s *Server) Vanish(t testing.TB, pod *corev1.Pod) {
	t.Helper()
	now := int64(0)
	if err := s.Client.CoreV1().Pods(pod.Namespace).Delete(Context(t), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
}
