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

{{/* ClusterRoles have no namespace, so two releases of one name must not share them. */}}
{{- define "mountwarden.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "mountwarden.fullname" .) -}}
{{- end -}}

{{- define "mountwarden.policyName" -}}
{{- printf "%s.%s" .Release.Namespace (include "mountwarden.fullname" .) -}}
{{- end -}}

{{- define "mountwarden.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mountwarden.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
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

{{- define "mountwarden.labels" -}}
{{ include "mountwarden.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The port of HOST:PORT; nothing for "0", which is no listener. */}}
{{- define "mountwarden.port" -}}
{{- if contains ":" . -}}
{{- regexFind "[0-9]+$" . -}}
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
