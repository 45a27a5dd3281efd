package podmount

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// Strip is a cache transform. It keeps only what is used of a pod, and of the metadata of other
// objects. So the cache stays small, and holds nobody's environment variables. Objects of other
// types lose their managed fields.
func Strip(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		return stripPod(o), nil
	case *metav1.PartialObjectMetadata:
		return stripMetadata(o), nil
	case metav1.Object:
		o.SetManagedFields(nil)
		return obj, nil
	default:
		return nil, fmt.Errorf("cache transform: %T is no API object", obj)
	}
}

// stripMetadata keeps what selects a namespace, and what pauses a namespace or a node.
func stripMetadata(o *metav1.PartialObjectMetadata) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta: o.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: o.Name, Namespace: o.Namespace, UID: o.UID, ResourceVersion: o.ResourceVersion, Labels: o.Labels,
			Annotations: keepAnnotations(o.Annotations),
		},
	}
}

// stripPod keeps what is probed and judged. It keeps labels, the grace period and the readiness
// gates as well, for the checks before an eviction and the follow-up after it.
func stripPod(pod *corev1.Pod) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta: pod.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			CreationTimestamp: pod.CreationTimestamp, DeletionTimestamp: pod.DeletionTimestamp, Labels: pod.Labels,
			OwnerReferences: pod.OwnerReferences, Annotations: keepAnnotations(pod.Annotations),
		},
		Spec: corev1.PodSpec{
			NodeName: pod.Spec.NodeName, Volumes: pod.Spec.Volumes,
			TerminationGracePeriodSeconds: pod.Spec.TerminationGracePeriodSeconds, ReadinessGates: pod.Spec.ReadinessGates,
			InitContainers: keepMounts(pod.Spec.InitContainers), Containers: keepMounts(pod.Spec.Containers),
			EphemeralContainers: keepEphemeralMounts(pod.Spec.EphemeralContainers),
		},
		Status: corev1.PodStatus{
			Phase: pod.Status.Phase, Conditions: keepConditions(pod.Status.Conditions),
			InitContainerStatuses: keepRunning(pod.Status.InitContainerStatuses), ContainerStatuses: keepRunning(pod.Status.ContainerStatuses),
			EphemeralContainerStatuses: keepRunning(pod.Status.EphemeralContainerStatuses),
		},
	}
}

// keepConditions keeps the condition that this agent writes, and PodReady, which changes with it
// where it is a readiness gate.
func keepConditions(all []corev1.PodCondition) []corev1.PodCondition {
	var kept []corev1.PodCondition
	for _, c := range all {
		if c.Type == controllers.ConditionMountsHealthy || c.Type == corev1.PodReady {
			kept = append(kept, c)
		}
	}
	return kept
}

func keepAnnotations(all map[string]string) map[string]string {
	kept := map[string]string{}
	for key, value := range all {
		if strings.HasPrefix(key, config.AnnotationPrefix) || key == corev1.MirrorPodAnnotationKey {
			kept[key] = value
		}
	}
	return kept
}

func keepMounts(containers []corev1.Container) []corev1.Container {
	var kept []corev1.Container
	for _, c := range containers {
		kept = append(kept, corev1.Container{Name: c.Name, VolumeMounts: c.VolumeMounts, RestartPolicy: c.RestartPolicy})
	}
	return kept
}

func keepEphemeralMounts(containers []corev1.EphemeralContainer) []corev1.EphemeralContainer {
	var kept []corev1.EphemeralContainer
	for _, c := range containers {
		kept = append(kept, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: c.Name, VolumeMounts: c.VolumeMounts}})
	}
	return kept
}

func keepRunning(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	var kept []corev1.ContainerStatus
	for _, s := range statuses {
		kept = append(kept, corev1.ContainerStatus{Name: s.Name, ContainerID: s.ContainerID, State: corev1.ContainerState{Running: s.State.Running}})
	}
	return kept
}
