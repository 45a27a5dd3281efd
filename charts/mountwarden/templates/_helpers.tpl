{{- define "mountwarden.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "mountwarden.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "mountwarden.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "mountwarden.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The full name with a suffix: list $ "suffix". */}}
{{- define "mountwarden.suffixed" -}}
{{- printf "%s-%s" (include "mountwarden.fullname" (index . 0) | trunc (int (sub 62 (len (index . 1)))) | trimSuffix "-") (index . 1) -}}
{{- end -}}

{{/* ClusterRoles have no namespace, so two releases of one name must not share them. */}}
{{- define "mountwarden.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "mountwarden.fullname" .) -}}
{{- end -}}

{{- define "mountwarden.policyName" -}}
{{- printf "%s.%s" .Release.Namespace (include "mountwarden.fullname" .) -}}
{{- end -}}

{{- define "mountwarden.serviceAccountName" -}}
{{- default (include "mountwarden.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "mountwarden.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "mountwarden.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mountwarden.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Of the pod of `helm test`, which the DaemonSet's selector must not match. */}}
{{- define "mountwarden.testSelectorLabels" -}}
app.kubernetes.io/name: {{ include "mountwarden.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/*
The metadata of an object, a dict with root and:
  name         the release's full name where it is left out
  cluster      true for an object without a namespace
  namespace    another than the release's
  labels, annotations   beside those of every object
*/}}
{{- define "mountwarden.metadata" -}}
{{- $root := .root -}}
name: {{ default (include "mountwarden.fullname" $root) .name }}
{{- if not .cluster }}
namespace: {{ default $root.Release.Namespace .namespace }}
{{- end }}
labels:
  {{- include "mountwarden.selectorLabels" $root | nindent 2 }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
  {{- with include "mountwarden.merged" (list $root.Values.commonLabels .labels) }}
  {{- . | nindent 2 }}
  {{- end }}
{{- with include "mountwarden.merged" (list $root.Values.commonAnnotations .annotations) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Several maps as one, the later the stronger; nothing where all are empty. */}}
{{- define "mountwarden.merged" -}}
{{- $all := dict -}}
{{- range . -}}
{{- $all = mergeOverwrite $all (default dict .) -}}
{{- end -}}
{{- if $all -}}
{{- toYaml $all -}}
{{- end -}}
{{- end -}}

{{/* The port of HOST:PORT; nothing for "0", which is no listener. */}}
{{- define "mountwarden.port" -}}
{{- if contains ":" . -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}
{{- end -}}

{{/* Where the agent finds its certificate for metrics; nothing when it makes one. */}}
{{- define "mountwarden.certDir" -}}
{{- with .Values.secureMetrics.secretName -}}
/etc/mountwarden-metrics
{{- else -}}
{{- .Values.config.metricsCertDir -}}
{{- end -}}
{{- end -}}

{{- define "mountwarden.securityContext" -}}
{{- if .Values.privileged -}}
privileged: true
runAsUser: 0
readOnlyRootFilesystem: true
{{- else -}}
privileged: false
{{ toYaml .Values.securityContext }}
{{- end -}}
{{- end -}}

{{/* How the agents are scraped: list ROOT, the values of a PodMonitor or ServiceMonitor, and whom Prometheus is when nothing is said. */}}
{{- define "mountwarden.endpoint" -}}
{{- $secure := (index . 0).Values.secureMetrics -}}
port: metrics
{{- if (index . 0).Values.config.metricsSecure }}
scheme: https
tlsConfig:
  {{- toYaml (default (dict "insecureSkipVerify" true) $secure.tlsConfig) | nindent 2 }}
{{- with default (index . 2) $secure.authorization }}
{{ hasKey . "bearerTokenFile" | ternary . (dict "authorization" .) | toYaml }}
{{- end }}
{{- end }}
{{- with index . 1 }}
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
honorLabels: true # the series name the pods that are watched, not the agent's
relabelings:
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  {{- with .relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
