{{/* Labels of every object. */}}
{{- define "a8s.labels" -}}
app.kubernetes.io/name: a8s
app.kubernetes.io/part-of: a8s
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Labels that select the pods of a component: dict root, component. */}}
{{- define "a8s.selector" -}}
app.kubernetes.io/name: a8s
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "a8s.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* The user name of the controller, which may write what people may not. */}}
{{- define "a8s.controllerUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:a8s-controller
{{- end }}

{{/* What all pods of the control plane share: dict root, component. PodSecurity `restricted`. */}}
{{- define "a8s.pod" -}}
serviceAccountName: a8s-{{ .component }}
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What all containers of the control plane share: dict root, values. */}}
{{- define "a8s.container" -}}
image: {{ include "a8s.image" (dict "root" .root "image" .root.Values.image) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{ toYaml .values.resources | nindent 2 }}
{{- end }}

{{/* Environment variables of every process: dict root, values. */}}
{{- define "a8s.env" -}}
- name: A8S_LOG
  value: {{ .values.logLevel | quote }}
{{- with .root.Values.telemetry.otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: A8S_SYSTEM_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end }}
