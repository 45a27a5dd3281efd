package podmount

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
)

// Strip is a cache transform: it leaves of a pod only what is used, so that the cache stays small and holds no
// environment variable of anybody. Other objects keep their labels and lose their managed fields.
func Strip(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		if o, ok := obj.(metav1.Object); ok {
			o.SetManagedFields(nil)
			return obj, nil
		}
		return nil, fmt.Errorf("cache transform: %T is no API object", obj)
	}
	return &corev1.Pod{
		TypeMeta: pod.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			DeletionTimestamp: pod.DeletionTimestamp, OwnerReferences: pod.OwnerReferences, Annotations: ownAnnotations(pod),
		},
		Spec: corev1.PodSpec{
			NodeName: pod.Spec.NodeName, Volumes: pod.Spec.Volumes,
			InitContainers: mounts(pod.Spec.InitContainers), Containers: mounts(pod.Spec.Containers),
			EphemeralContainers: ephemeralMounts(pod.Spec.EphemeralContainers),
		},
		Status: corev1.PodStatus{
			Phase:                 pod.Status.Phase,
			InitContainerStatuses: running(pod.Status.InitContainerStatuses), ContainerStatuses: running(pod.Status.ContainerStatuses),
			EphemeralContainerStatuses: running(pod.Status.EphemeralContainerStatuses),
		},
	}, nil
}

func ownAnnotations(pod *corev1.Pod) map[string]string {
	own := map[string]string{}
	for key, value := range pod.Annotations {
		if strings.HasPrefix(key, config.AnnotationPrefix) || key == corev1.MirrorPodAnnotationKey {
			own[key] = value
		}
	}
	return own
}

func mounts(containers []corev1.Container) []corev1.Container {
	var kept []corev1.Container
	for _, c := range containers {
		kept = append(kept, corev1.Container{Name: c.Name, VolumeMounts: c.VolumeMounts, RestartPolicy: c.RestartPolicy})
	}
	return kept
}

func ephemeralMounts(containers []corev1.EphemeralContainer) []corev1.EphemeralContainer {
	var kept []corev1.EphemeralContainer
	for _, c := range containers {
		kept = append(kept, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: c.Name, VolumeMounts: c.VolumeMounts}})
	}
	return kept
}

func running(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	var kept []corev1.ContainerStatus
	for _, s := range statuses {
		kept = append(kept, corev1.ContainerStatus{Name: s.Name, ContainerID: s.ContainerID, State: corev1.ContainerState{Running: s.State.Running}})
	}
	return kept
}
