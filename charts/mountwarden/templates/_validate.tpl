{{/*
What a JSON schema cannot say of two numbers. The agent would refuse to start for the same reasons, on every node.
*/}}
{{- define "mountwarden.validate" -}}
{{- $c := .Values.config -}}
{{- include "mountwarden.atMost" (list "budgets.node" $c.budgets.node "budgets.cluster" $c.budgets.cluster) -}}
{{- include "mountwarden.atMost" (list "budgets.namespace" $c.budgets.namespace "budgets.cluster" $c.budgets.cluster) -}}
{{- include "mountwarden.atMost" (list "backoff.initialSeconds" $c.backoff.initialSeconds "backoff.maxSeconds" $c.backoff.maxSeconds) -}}
{{- include "mountwarden.atMost" (list "limits.minPeriodSeconds" $c.limits.minPeriodSeconds "defaults.periodSeconds" $c.defaults.periodSeconds) -}}
{{- include "mountwarden.atMost" (list "defaults.timeoutSeconds" $c.defaults.timeoutSeconds "defaults.hangSeconds" $c.defaults.hangSeconds) -}}
{{- include "mountwarden.validateMetrics" . -}}
{{- include "mountwarden.validateRollout" .Values.updateStrategy -}}
{{- end -}}

{{/* The API server takes exactly one of the two; it would refuse the DaemonSet after everything else was installed. */}}
{{- define "mountwarden.validateRollout" -}}
{{- if eq .type "RollingUpdate" -}}
{{- $r := default dict .rollingUpdate -}}
{{- $surge := default 0 $r.maxSurge -}}
{{- $unavailable := hasKey $r "maxUnavailable" | ternary $r.maxUnavailable 1 -}}
{{- if eq (regexMatch "^0+%?$" (toString $surge)) (regexMatch "^0+%?$" (toString $unavailable)) -}}
{{- fail (printf "invalid values updateStrategy.rollingUpdate.maxSurge %v and updateStrategy.rollingUpdate.maxUnavailable %v: exactly one of both must be 0" $surge $unavailable) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A certificate that is not shown would be thought to guard the metrics, and a PodMonitor has no token of its own. */}}
{{- define "mountwarden.validateMetrics" -}}
{{- $s := .Values.secureMetrics -}}
{{- if .Values.config.metricsSecure -}}
{{- if and .Values.podMonitor.enabled (not $s.authorization) -}}
{{- fail "invalid value secureMetrics.authorization {}: with config.metricsSecure a podMonitor needs one, such as {credentials: {name: SECRET, key: token}}; or enable serviceMonitor instead" -}}
{{- end -}}
{{- else if or $s.secretName $s.readers $s.tlsConfig $s.authorization .Values.config.metricsCertDir -}}
{{- fail "invalid values of secureMetrics or config.metricsCertDir: they say nothing unless config.metricsSecure is true" -}}
{{- end -}}
{{- if and $s.secretName .Values.config.metricsCertDir -}}
{{- fail (printf "invalid values secureMetrics.secretName %q and config.metricsCertDir %q: set one of both" $s.secretName .Values.config.metricsCertDir) -}}
{{- end -}}
{{- end -}}

{{/* list KEY VALUE KEY VALUE: the first may not be more than the second. */}}
{{- define "mountwarden.atMost" -}}
{{- if gt (int (index . 1)) (int (index . 3)) -}}
{{- fail (printf "invalid values config.%s %d and config.%s %d: the first may not be more than the second" (index . 0) (int (index . 1)) (index . 2) (int (index . 3))) -}}
{{- end -}}
{{- end -}}
