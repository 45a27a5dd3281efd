package node

import (
	"crypto/tls"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// written is a layout whose files have been written, in a folder with a blank and a quote in its name.
func written(t *testing.T) Layout {
	t.Helper()
	l, err := NewLayout("unit", filepath.Join(t.TempDir(), `the "cache"`))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Write("/cni/plugins"); err != nil {
		t.Fatal(err)
	}
	return l
}

func readJSON(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// Every certificate, key and configuration file that a component is told to read is there.
func TestArgumentsNameFilesThatExist(t *testing.T) {
	l := written(t)
	checked := 0
	for _, stage := range l.Components() {
		for _, c := range stage {
			for _, arg := range c.Args {
				_, value, _ := strings.Cut(arg, "=")
				if !strings.HasPrefix(value, l.path("pki")) && !strings.HasPrefix(value, l.path("config")) {
					continue
				}
				checked++
				if _, err := os.Stat(value); err != nil {
					t.Errorf("%s %s: %v", c.Name, arg, err)
				}
			}
		}
	}
	if checked < 15 {
		t.Errorf("only %d arguments name files", checked)
	}
}

func TestComponentsAreNamedOnceAndCanBeWaitedFor(t *testing.T) {
	l := written(t)
	seen := map[string]bool{}
	for _, stage := range l.Components() {
		for _, c := range stage {
			if seen[c.Name] || c.Ready == nil || filepath.Dir(c.Path) != l.Bin() {
				t.Errorf("%+v", c)
			}
			seen[c.Name] = true
		}
	}
	for _, want := range []string{"etcd", "containerd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"} {
		if !seen[want] {
			t.Errorf("no %s", want)
		}
	}
}

func TestKubeconfigs(t *testing.T) {
	l := written(t)
	for _, user := range []string{admin, kcm, scheduler, kubelet} {
		text, err := os.ReadFile(l.kubeconfig(user))
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Clusters []struct {
				Cluster struct {
					Server string
					CA     string `json:"certificate-authority"`
				}
			}
			Users []struct {
				User struct {
					Cert string `json:"client-certificate"`
					Key  string `json:"client-key"`
				}
			}
		}
		if err := json.Unmarshal(text, &config); err != nil {
			t.Fatal(err)
		}
		cluster, u := config.Clusters[0].Cluster, config.Users[0].User
		if cluster.Server != "https://10.99.0.1:443" || cluster.CA != l.pki("ca.crt") {
			t.Errorf("%s: %+v", user, cluster)
		}
		if _, err := tls.LoadX509KeyPair(u.Cert, u.Key); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
}

// What a test machine needs and a server would not.
func TestKubeletConfig(t *testing.T) {
	config := readJSON(t, written(t).config("kubelet.json"))
	for key, want := range map[string]any{
		"kind": "KubeletConfiguration", "failCgroupV1": false, "failSwapOn": false, "cgroupDriver": "cgroupfs",
		"cgroupRoot": "/mwcluster-unit", "resolvConf": "/dev/null",
		"containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
	} {
		if config[key] != want {
			t.Errorf("%s is %v, want %v", key, config[key], want)
		}
	}
}

func TestContainerdConfig(t *testing.T) {
	l := written(t)
	text, err := os.ReadFile(l.config("containerd.toml"))
	if err != nil {
		t.Fatal(err)
	}
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }
	for _, line := range []string{
		"version = 3",
		"root = " + quote(l.path("containerd", "root")),
		"path = " + quote(l.path("containerd", "opt")),
		"conf_dir = " + quote(l.config("cni")),
		`bin_dirs = ["/cni/plugins"]`,
		`sandbox = "test.local/pause:1"`,
		`address = "/run/containerd/containerd.sock"`,
		"restrict_oom_score_adj = true",
		"SystemdCgroup = false",
	} {
		if !regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(line) + `$`).Match(text) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
}

func TestNetwork(t *testing.T) {
	network := readJSON(t, written(t).config("cni/10-bridge.conflist"))
	plugin := network["plugins"].([]any)[0].(map[string]any)
	if plugin["type"] != "bridge" || plugin["isGateway"] != true || plugin["ipMasq"] != false {
		t.Errorf("%v", plugin)
	}
}
