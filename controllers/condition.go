package controllers

import corev1 "k8s.io/api/core/v1"

// ConditionMountsHealthy is the pod condition that reports the state of all watched mounts of a
// pod. It is an API: readiness gates name it.
const ConditionMountsHealthy corev1.PodConditionType = "mountwarden.io/MountsHealthy"
