package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mountwarden/mountwarden/test/cluster/internal/pki"
)

// PauseImage holds a pod's namespaces open; the kubelet never removes it.
const PauseImage = "test.local/pause:1"

// object is a JSON object; every component that wants YAML takes JSON, which is a part of it.
type object map[string]any

// Write makes the certificates and configuration files of a new cluster. cni is the folder of CNI
// plugins.
func (l Layout) Write(cni string) error {
	if err := pki.Write(l.path("pki"), identities()); err != nil {
		return err
	}
	for _, dir := range []string{l.Logs(), l.Kubelet(), l.config("cni"), l.path("containerd")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the cluster's folders: %w", err)
		}
	}
	files := map[string]any{
		l.config("cni/10-bridge.conflist"): l.network(),
		l.config("kubelet.json"):           l.kubeletConfig(),
		l.config(auditPolicy):              audited(),
	}
	for _, user := range []string{admin, kcm, scheduler, kubelet} {
		files[l.kubeconfig(user)] = l.kubeconfigOf(user)
	}
	for path, value := range files {
		if err := writeJSON(path, value); err != nil {
			return err
		}
	}
	return l.writeContainerdConfig(cni)
}

const auditPolicy = "audit.json"

// audited has the requests of pods' accounts told, each once, so that tests see what a program asks of the API server: its own metrics
// count requests but do not say for what.
func audited() object {
	return object{
		"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": []string{"RequestReceived", "ResponseStarted"},
		"rules": []object{
			{"level": "None", "userGroups": []string{"system:serviceaccounts:kube-system"}},
			{"level": "Metadata", "userGroups": []string{"system:serviceaccounts"}},
			{"level": "None"},
		},
	}
}

func writeJSON(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("render %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", path, err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

func (l Layout) kubeconfigOf(user string) object {
	return object{
		"apiVersion": "v1", "kind": "Config", "current-context": "cluster",
		"clusters": []object{{"name": "cluster", "cluster": object{
			"server": server, "certificate-authority": l.pki("ca.crt"),
		}}},
		"users": []object{{"name": user, "user": object{
			"client-certificate": l.pki(user + ".crt"), "client-key": l.pki(user + ".key"),
		}}},
		"contexts": []object{{"name": "cluster", "context": object{"cluster": "cluster", "user": user}}},
	}
}

// network gives every pod an address behind one bridge. Nothing is masqueraded: no packet leaves
// the namespace.
func (l Layout) network() object {
	return object{"cniVersion": "1.0.0", "name": "cluster", "plugins": []object{{
		"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
		"ipam": object{
			"type":   "host-local",
			"ranges": [][]object{{{"subnet": podCIDR}}},
			"routes": []object{{"dst": "0.0.0.0/0"}},
		},
	}}}
}

func (l Layout) kubeletConfig() object {
	return object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": object{
			"x509":      object{"clientCAFile": l.pki("ca.crt")},
			"webhook":   object{"enabled": true},
			"anonymous": object{"enabled": false},
		},
		"authorization":            object{"mode": "Webhook"},
		"tlsCertFile":              l.pki("kubelet.crt"),
		"tlsPrivateKeyFile":        l.pki("kubelet.key"),
		"containerRuntimeEndpoint": "unix://" + l.ContainerdSocket(),
		"volumePluginDir":          "/var/lib/kubelet/volumeplugins", // the default is below /usr
		// A test machine may have cgroup version 1, no systemd, swap, and a nearly full disk.
		"failCgroupV1": false,
		"cgroupDriver": "cgroupfs",
		"cgroupRoot":   "/" + l.Cgroup(),
		"failSwapOn":   false,
		"evictionHard": object{
			"memory.available": "50Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%",
		},
		"imageGCHighThresholdPercent": 100,
		// There is no DNS: a look-up is refused at once, and pods get no event about a missing server.
		"clusterDomain": "cluster.local",
		"clusterDNS":    []string{"127.0.0.1"},
		"resolvConf":    os.DevNull,
		// Tests wait for pods to come and go.
		"syncFrequency": "5s",
	}
}
