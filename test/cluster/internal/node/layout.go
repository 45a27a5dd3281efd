package node

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
)

// Name is how the node calls itself.
const Name = "node-1"

// ErrLayout is wrapped when a cluster cannot be kept where it was asked to be.
var ErrLayout = errors.New("not a usable place for a cluster")

// Layout is where the files of one cluster are. Make it with NewLayout.
type Layout struct {
	Instance string // name of the cluster
	Cache    string // absolute; shared by all clusters of a user
}

// hidden are the folders that a cluster covers with its own, so that it leaves the host's alone.
func hidden() []string { return []string{"/run", "/var/lib", "/var/log"} }

// NewLayout checks both values; an error wraps ErrLayout.
func NewLayout(instance, cache string) (Layout, error) {
	if !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`).MatchString(instance) {
		return Layout{}, fmt.Errorf("%w: name %q: use at most 40 lower-case letters, digits and dashes", ErrLayout, instance)
	}
	abs, err := filepath.Abs(cache)
	if err != nil {
		return Layout{}, fmt.Errorf("%w: %q: %w", ErrLayout, cache, err)
	}
	for _, dir := range hidden() {
		if strings.HasPrefix(abs+"/", dir+"/") {
			return Layout{}, fmt.Errorf("%w: %s is below %s, which a cluster covers with its own; "+
				"set MOUNTWARDEN_CACHE to a folder elsewhere", ErrLayout, abs, dir)
		}
	}
	return Layout{Instance: instance, Cache: abs}, nil
}

// Home is the user's home folder, also where HOME is not set, as in many a CI job.
func Home() (string, error) {
	if home := os.Getenv("HOME"); home != "" {
		return home, nil
	}
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("HOME is not set and the user is unknown: %w", err)
	}
	return u.HomeDir, nil
}

// DefaultCache is $MOUNTWARDEN_CACHE, else mountwarden below $XDG_CACHE_HOME or ~/.cache.
func DefaultCache() (string, error) {
	if dir := os.Getenv("MOUNTWARDEN_CACHE"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "mountwarden"), nil
	}
	home, err := Home()
	return filepath.Join(home, ".cache", "mountwarden"), err
}

// Tools is the folder of built programs.
func (l Layout) Tools() string { return filepath.Join(l.Cache, "tools") }

// Dir is the cluster's own folder.
func (l Layout) Dir() string { return filepath.Join(l.Cache, "cluster", l.Instance) }

// Lock is held by whoever brings the cluster up or down.
func (l Layout) Lock() string { return filepath.Join(l.Cache, "cluster", l.Instance+".lock") }

// Logs is the folder of logs, one a component; it outlives the cluster until the next one starts.
func (l Layout) Logs() string { return l.path("logs") }

// Audit is the file of what the accounts of pods asked of the API server, one JSON object a line (audit.k8s.io/v1, Event).
func (l Layout) Audit() string { return l.path("logs", "audit.jsonl") }

// Bin is the folder with links to the programs that this cluster runs.
func (l Layout) Bin() string { return l.path("bin") }

// Images is the folder of image tarballs that a new cluster is given.
func (l Layout) Images() string { return l.path("images") }

// Kubelet is the folder that stands at /var/lib/kubelet inside the cluster.
func (l Layout) Kubelet() string { return l.path("kubelet") }

// Kubeconfig is the administrator's; it is of use inside the cluster's network namespace only.
func (l Layout) Kubeconfig() string { return l.kubeconfig(admin) }

// Cgroup is the name of the cluster's group in every cgroup hierarchy.
func (l Layout) Cgroup() string { return "mwcluster-" + l.Instance }

// ContainerdSocket is below the cluster's own /run.
func (l Layout) ContainerdSocket() string { return "/run/containerd/containerd.sock" }

func (l Layout) path(parts ...string) string {
	return filepath.Join(append([]string{l.Dir()}, parts...)...)
}

func (l Layout) pki(file string) string        { return l.path("pki", file) }
func (l Layout) kubeconfig(user string) string { return l.path("config", user+".kubeconfig") }
func (l Layout) config(file string) string     { return l.path("config", file) }

// Covered is the folder for what the cluster writes to the host's folders that it covers.
func (l Layout) Covered() string { return l.path("covered") }
