package node

import (
	"bytes"
	"fmt"
	"os"
	"text/template"
)

// restrict_oom_score_adj: without CAP_SYS_RESOURCE runc could not lower the score and would end
// with "can't get final child's PID from pipe: EOF".
const containerdTemplate = `version = 3
root = {{printf "%q" .Root}}
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = {{printf "%q" .Socket}}

[plugins."io.containerd.internal.v1.opt"]
  path = {{printf "%q" .Opt}}

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = {{printf "%q" .Pause}}

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [{{printf "%q" .Plugins}}]
    conf_dir = {{printf "%q" .CNI}}
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
`

func (l Layout) writeContainerdConfig(cni string) error {
	t, err := template.New("containerd.toml").Parse(containerdTemplate)
	if err != nil {
		return fmt.Errorf("read the template of containerd's configuration: %w", err)
	}
	var text bytes.Buffer
	err = t.Execute(&text, map[string]string{
		"Root": l.path("containerd", "root"), "Opt": l.path("containerd", "opt"), "Socket": l.ContainerdSocket(),
		"Pause": PauseImage, "Plugins": cni, "CNI": l.config("cni"),
	})
	if err != nil {
		return fmt.Errorf("render containerd's configuration: %w", err)
	}
	return os.WriteFile(l.config("containerd.toml"), text.Bytes(), 0o600)
}
