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
{{- end -}}

{{/* list KEY VALUE KEY VALUE: the first may not be more than the second. */}}
{{- define "mountwarden.atMost" -}}
{{- if gt (int (index . 1)) (int (index . 3)) -}}
{{- fail (printf "invalid values config.%s %d and config.%s %d: the first may not be more than the second" (index . 0) (int (index . 1)) (index . 2) (int (index . 3))) -}}
{{- end -}}
{{- end -}}
