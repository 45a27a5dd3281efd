package node

import (
	"os"
	"path/filepath"

	"github.com/mountwarden/mountwarden/test/cluster/internal/supervise"
)

// Components are the programs of the cluster in the order in which they start: those of one stage
// start together, once all of the stage before are ready. The files that Write makes must be there.
func (l Layout) Components() [][]supervise.Component {
	return [][]supervise.Component{
		{l.etcd(), l.containerd()},
		{l.apiserver()},
		{l.controllerManager(), l.scheduler(), l.kubelet()},
	}
}

func (l Layout) binary(name string) string { return filepath.Join(l.Bin(), name) }

func (l Layout) etcd() supervise.Component {
	return supervise.Component{
		Name: "etcd", Path: l.binary("etcd"), Ready: get(etcdURL + "/health"),
		Args: []string{
			"--data-dir=" + l.path("etcd"),
			"--unsafe-no-fsync", // the data need not outlive the machine
			"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
			"--listen-peer-urls=http://127.0.0.1:2380",
		},
	}
}

func (l Layout) containerd() supervise.Component {
	return supervise.Component{
		Name: "containerd", Path: l.binary("containerd"), Ready: dial(l.ContainerdSocket()),
		Args: []string{"--config=" + l.config("containerd.toml")},
		// containerd looks for its shim in PATH.
		Env: []string{"PATH=" + l.Bin() + ":" + os.Getenv("PATH")},
	}
}

func (l Layout) apiserver() supervise.Component {
	return supervise.Component{
		Name: "kube-apiserver", Path: l.binary("kube-apiserver"), Ready: l.askAPI("/readyz"),
		Args: []string{
			"--etcd-servers=" + etcdURL,
			// Port 443 on the service's own address: in-cluster clients need no kube-proxy.
			"--secure-port=443", "--bind-address=0.0.0.0", "--advertise-address=" + NodeIP,
			"--service-cluster-ip-range=" + serviceCIDR,
			"--tls-cert-file=" + l.pki("apiserver.crt"), "--tls-private-key-file=" + l.pki("apiserver.key"),
			"--client-ca-file=" + l.pki("ca.crt"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-signing-key-file=" + l.pki("sa.key"), "--service-account-key-file=" + l.pki("sa.pub"),
			"--allow-privileged=true",
			"--kubelet-preferred-address-types=InternalIP",
			"--kubelet-certificate-authority=" + l.pki("ca.crt"),
			"--kubelet-client-certificate=" + l.pki(kubeletClient+".crt"),
			"--kubelet-client-key=" + l.pki(kubeletClient+".key"),
			"--audit-policy-file=" + l.config(auditPolicy), "--audit-log-path=" + l.Audit(), "--audit-log-mode=blocking",
		},
	}
}

func (l Layout) controllerManager() supervise.Component {
	return supervise.Component{
		Name: kcm, Path: l.binary(kcm), Ready: all(
			l.getTLS("https://127.0.0.1:10257/healthz"),
			// It answers long before its controllers run. Pods need this account, and whoever stops
			// kube-apiserver before they run kills it: only then does it not try again.
			l.askAPI("/api/v1/namespaces/default/serviceaccounts/default"),
		),
		Args: []string{
			"--kubeconfig=" + l.kubeconfig(kcm), "--bind-address=127.0.0.1", "--leader-elect=false",
			"--kube-api-qps=200", "--kube-api-burst=400", // it starts in half the time
			"--use-service-account-credentials", "--root-ca-file=" + l.pki("ca.crt"),
			"--service-account-private-key-file=" + l.pki("sa.key"),
			"--tls-cert-file=" + l.pki("apiserver.crt"), "--tls-private-key-file=" + l.pki("apiserver.key"),
			"--flex-volume-plugin-dir=/var/lib/kubelet/volumeplugins",
		},
	}
}

func (l Layout) scheduler() supervise.Component {
	return supervise.Component{
		Name: scheduler, Path: l.binary(scheduler), Ready: l.getTLS("https://127.0.0.1:10259/healthz"),
		Args: []string{
			"--kubeconfig=" + l.kubeconfig(scheduler), "--bind-address=127.0.0.1", "--leader-elect=false",
			"--tls-cert-file=" + l.pki("apiserver.crt"), "--tls-private-key-file=" + l.pki("apiserver.key"),
		},
	}
}

func (l Layout) kubelet() supervise.Component {
	return supervise.Component{
		Name: kubelet, Path: l.binary(kubelet), Ready: l.kubeletReady(),
		Args: []string{
			"--config=" + l.config("kubelet.json"), "--kubeconfig=" + l.kubeconfig(kubelet),
			"--hostname-override=" + Name, "--node-ip=" + NodeIP, "--v=2",
		},
	}
}
