package node

import (
	"net"

	"github.com/mountwarden/mountwarden/test/cluster/internal/pki"
)

// Addresses, all inside the cluster's network namespace.
const (
	NodeIP      = "10.99.0.1" // the kubelet refuses a loopback address
	NodeCIDR    = NodeIP + "/24"
	ServiceIP   = "10.96.0.1" // first of the service range: `kubernetes.default`
	serviceCIDR = "10.96.0.0/16"
	podCIDR     = "10.88.0.0/16"
	server      = "https://" + NodeIP + ":443"
	etcdURL     = "http://127.0.0.1:2379"
)

// Base names of certificates and kubeconfigs.
const (
	admin         = "admin"
	apiserver     = "apiserver"
	kcm           = "kube-controller-manager"
	scheduler     = "kube-scheduler"
	kubelet       = "kubelet"
	kubeletClient = "kubelet-client" // as which kube-apiserver calls the kubelet, for logs and exec
)

func identities() []pki.Identity {
	local, node, service := net.IPv4(127, 0, 0, 1), net.ParseIP(NodeIP), net.ParseIP(ServiceIP)
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	return []pki.Identity{
		{File: apiserver, User: "kube-apiserver", Names: names, Addrs: []net.IP{local, node, service}},
		{File: admin, User: "admin", Group: "system:masters"},
		{File: kcm, User: "system:kube-controller-manager"},
		{File: scheduler, User: "system:kube-scheduler"},
		{File: kubelet, User: "system:node:" + Name, Group: "system:nodes", Names: []string{Name}, Addrs: []net.IP{node}},
		{File: kubeletClient, User: "kube-apiserver-kubelet-client", Group: "system:masters"},
	}
}
