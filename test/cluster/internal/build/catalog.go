package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ErrUnknownTool is wrapped when a name is not in the catalog.
var ErrUnknownTool = errors.New("unknown program")

// Tool is one program that can be built.
type Tool struct {
	Name    string // of the binary
	Module  string // folder below the tools folder whose go.mod pins it
	Package string // import path of its main package
	Tags    string // build tags, separated by blanks
	Cluster bool   // part of a cluster, and not a tool for developers only
	stamp   bool   // Kubernetes learns its version from the linker
}

const (
	containerd     = "github.com/containerd/containerd/v2/cmd/"
	containerdTags = "no_btrfs no_devmapper no_zfs" // they need C libraries, and the cluster uses overlayfs

	prometheusTags = "remove_all_sd enable_kubernetes_sd" // the other service discoveries are most of what there is to compile
)

// Catalog lists every program, those that others share most code with first.
func Catalog() []Tool {
	kubernetes := func(name string) Tool {
		return Tool{Name: name, Module: "kubernetes", Package: "k8s.io/kubernetes/cmd/" + name, Cluster: true, stamp: true}
	}
	runtime := func(name string) Tool {
		return Tool{Name: name, Module: "containerd", Package: containerd + name, Tags: containerdTags, Cluster: true}
	}
	return []Tool{
		runtime("containerd"),
		runtime("containerd-shim-runc-v2"),
		runtime("ctr"),
		{Name: "etcd", Module: "etcd", Package: "go.etcd.io/etcd/server/v3", Cluster: true},
		kubernetes("kubectl"),
		kubernetes("kube-apiserver"),
		kubernetes("kube-controller-manager"),
		kubernetes("kube-scheduler"),
		kubernetes("kubelet"),
		{Name: "helm", Module: "helm", Package: "helm.sh/helm/v4/cmd/helm", Cluster: true},
		{Name: "prometheus", Module: "prometheus", Package: "github.com/prometheus/prometheus/cmd/prometheus", Tags: prometheusTags},
		{Name: "golangci-lint", Module: "golangci-lint", Package: "github.com/golangci/golangci-lint/v2/cmd/golangci-lint"},
	}
}

// ForCluster lists the programs that a cluster and its users need.
func ForCluster() []Tool {
	return slices.DeleteFunc(Catalog(), func(t Tool) bool { return !t.Cluster })
}

// Find returns the programs with these names, in the order of the names; an unknown name is
// ErrUnknownTool.
func Find(names ...string) ([]Tool, error) {
	all := Catalog()
	var known, unknown []string
	for _, t := range all {
		known = append(known, t.Name)
	}
	var found []Tool
	for _, name := range names {
		i := slices.Index(known, name)
		if i < 0 {
			unknown = append(unknown, name)
			continue
		}
		found = append(found, all[i])
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("%w: %s; there are %s", ErrUnknownTool,
			strings.Join(unknown, ", "), strings.Join(known, ", "))
	}
	return found, nil
}

// ErrNoTools is wrapped when the folder with the pinned modules is not found.
var ErrNoTools = errors.New("folder test/tools not found")

// FindModules returns the folder of the pinned modules, looked for from dir upwards, so that the
// program works from anywhere inside the repository.
func FindModules(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		for _, candidate := range []string{"tools", "test/tools"} {
			tools := filepath.Join(at, candidate)
			if _, err := os.Stat(filepath.Join(tools, "kubernetes", "go.mod")); err == nil {
				return tools, nil
			}
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%w above %s; run this inside a clone of the repository", ErrNoTools, dir)
		}
	}
}

// kubernetesVersion reads the version of Kubernetes that a go.mod pins.
func kubernetesVersion(gomod []byte) (version, major, minor string, err error) {
	m := regexp.MustCompile(`(?m)^\s*(?:require\s+)?k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+\S*)`).FindSubmatch(gomod)
	if m == nil {
		return "", "", "", errors.New("go.mod does not require k8s.io/kubernetes at a version")
	}
	return string(m[1]), string(m[2]), string(m[3]), nil
}
