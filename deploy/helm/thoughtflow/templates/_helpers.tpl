{{/* Every helper takes a dict: root, the chart's context, and service, a key of .Values.services. */}}

{{- define "thoughtflow.name" -}}
{{ .root.Release.Name }}-{{ .service }}
{{- end }}

{{- define "thoughtflow.selector" -}}
app.kubernetes.io/name: thoughtflow
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{- define "thoughtflow.labels" -}}
{{ include "thoughtflow.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* Pod-level settings that every pod has. */}}
{{- define "thoughtflow.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
{{- end }}

{{/* What the containers of a service have in common, be it to serve or to migrate. */}}
{{- define "thoughtflow.container" -}}
{{- $own := index .root.Values.services .service -}}
image: {{ .root.Values.image.prefix }}thoughtflow-{{ .service }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
envFrom:
  - secretRef: {name: {{ required (printf "services.%s.existingSecret: name the Secret with its secrets" .service) $own.existingSecret }}}
env:
{{- $names := dict "HOST" "0.0.0.0" "PORT" "8000" }}
{{- $_ := set $names "PUBLIC_URL" (required "config.PUBLIC_URL: say where people reach the gateway, https://..." .root.Values.config.PUBLIC_URL) }}
{{- $_ := set $names "JWKS_URL" (printf "http://%s-auth:8000/.well-known/jwks.json" .root.Release.Name) }}
{{- range $other := list "auth" "chat" "ai" "billing" }}
{{- $_ := set $names (printf "%s_URL" (upper $other)) (printf "http://%s-%s:8000" $.root.Release.Name $other) }}
{{- end }}
{{- range $name, $value := merge (dict) $own.config .root.Values.config $names }}
  - {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}
