package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/cluster/internal/cgroup"
	"github.com/mountwarden/mountwarden/test/cluster/internal/host"
	"github.com/mountwarden/mountwarden/test/cluster/internal/node"
	"github.com/mountwarden/mountwarden/test/cluster/internal/supervise"
)

// rig is a cluster of the test's own, beside any that runs already. It shares the cache of built
// programs; where that is empty the first `up` compiles for 20 minutes, so `go test` needs a long -timeout.
type rig struct {
	t      *testing.T
	binary string
	layout node.Layout
}

func newRig(t *testing.T) rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("starts a cluster: needs root")
	}
	cache, err := node.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	layout, err := node.NewLayout(fmt.Sprintf("test-%d", os.Getpid()), cache)
	if err != nil {
		t.Fatal(err)
	}
	r := rig{t: t, binary: filepath.Join(t.TempDir(), "cluster"), layout: layout}
	if out, err := exec.Command("go", "build", "-o", r.binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		out, err := r.try("down")
		if err != nil {
			t.Errorf("clean up: %v\n%s", err, out)
		}
		os.RemoveAll(layout.Dir())
		os.Remove(layout.Lock())
	})
	return r
}

func (r rig) try(args ...string) (string, error) {
	ctx := context.Background()
	if deadline, ok := r.t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-10*time.Second))
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, r.binary, append([]string{"--name", r.layout.Instance}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r rig) must(args ...string) string {
	r.t.Helper()
	out, err := r.try(args...)
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r rig) mustSay(want string, args ...string) {
	r.t.Helper()
	if out := r.must(args...); !strings.Contains(out, want) {
		r.t.Fatalf("%s: %q is missing in:\n%s", strings.Join(args, " "), want, out)
	}
}

// mustFail runs what must fail and name each of want.
func (r rig) mustFail(args []string, want ...string) {
	r.t.Helper()
	out, err := r.try(args...)
	if err == nil {
		r.t.Fatalf("%s did not fail:\n%s", strings.Join(args, " "), out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			r.t.Fatalf("%s: %q is missing in:\n%s", strings.Join(args, " "), w, out)
		}
	}
}

const podManifest = `
apiVersion: v1
kind: Pod
metadata: {name: probe}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 2
  containers:
  - name: main
    image: test.local/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, "nc -w 5 10.96.0.1 443 </dev/null && echo reached; trap 'exit 0' TERM; while :; do sleep 1; done"]
    securityContext: {privileged: true}
    volumeMounts: [{name: shared, mountPath: /shared, mountPropagation: Bidirectional}]
  volumes: [{name: shared, hostPath: {path: /var/lib/shared, type: DirectoryOrCreate}}]
`

func TestClusterFromUpToDown(t *testing.T) {
	r := newRig(t)
	r.mustFail([]string{"status"}, "not running")
	r.mustSay("is up", "up")
	r.must("status")
	r.mustSay("is up already", "up")
	r.mustSay("True", "kubectl", "get", "node", node.Name, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
	r.podWorks()
	r.componentDies()
	r.componentStops()
	inside := r.namespaces()
	hostMounts(t, r.layout.Dir()) // none while it runs, either
	r.must("down")
	r.nothingLeft(inside)
	r.must("down")
	r.mustSay("serving client traffic", "logs", "etcd")
}

// podWorks runs a pod and asks of it all that needs the kubelet: logs, exec, mounts, deletion.
func (r rig) podWorks() {
	r.t.Helper()
	manifest := filepath.Join(r.t.TempDir(), "pod.yaml")
	if err := os.WriteFile(manifest, []byte(podManifest), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.must("kubectl", "apply", "-f", manifest)
	r.must("kubectl", "wait", "--for=condition=Ready", "pod/probe", "--timeout=2m")
	r.mustSay("/pause", "kubectl", "exec", "probe", "--", "ps")
	r.must("kubectl", "exec", "probe", "--", "mount", "-t", "tmpfs", "from-pod", "/shared")
	r.mustSay("/var/lib/shared", "exec", "--", "grep", "from-pod", "/proc/mounts")
	r.eventually("the pod reached the API", func() bool {
		return strings.Contains(r.must("kubectl", "logs", "probe"), "reached")
	})
	r.must("kubectl", "delete", "pod", "probe", "--timeout=1m")
	if out := r.must("kubectl", "get", "pods", "-o", "name"); out != "" {
		r.t.Fatalf("the pod is still there: %s", out)
	}
}

// componentDies kills a component behind the supervisor's back.
func (r rig) componentDies() {
	r.t.Helper()
	pid := r.pidOf("kube-scheduler")
	r.must("exec", "--", "kill", "-KILL", pid)
	r.eventually("the death is noticed", func() bool {
		_, err := r.try("status")
		return err != nil
	})
	r.mustFail([]string{"status"}, "kube-scheduler", "killed by signal 9", "the end of its log", "Serving securely")
	r.mustFail([]string{"up"}, "kube-scheduler", "killed by signal 9")
	r.must("start", "kube-scheduler")
	r.must("status")
	if again := r.pidOf("kube-scheduler"); again == pid {
		r.t.Fatalf("kube-scheduler still is process %s", pid)
	}
}

func (r rig) componentStops() {
	r.t.Helper()
	r.must("stop", "kube-apiserver")
	r.mustFail([]string{"kubectl", "get", "nodes"}, "refused")
	r.mustFail([]string{"status"}, "kube-apiserver is stopped")
	r.must("start", "kube-apiserver")
	r.mustSay(node.Name, "kubectl", "get", "nodes")
	r.must("status")
}

func (r rig) pidOf(component string) string {
	r.t.Helper()
	for line := range strings.Lines(r.must("status")) {
		if f := strings.Fields(line); f[0] == component {
			return f[3]
		}
	}
	r.t.Fatalf("no %s in the status", component)
	return ""
}

// namespaces returns the names of the cluster's own. It keeps them open until the test ends: the
// kernel gives the number of one that is gone to the next.
func (r rig) namespaces() map[string]bool {
	r.t.Helper()
	pid, pidfd, err := supervise.Client{Dir: r.layout.Dir()}.PID(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer unix.Close(pidfd)
	own := map[string]bool{}
	for _, kind := range []string{"pid", "net"} { // an open mount namespace would keep its mounts
		path := fmt.Sprintf("/proc/%d/ns/%s", pid, kind)
		open, err := os.Open(path)
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { open.Close() })
		link, err := os.Readlink(path)
		if host, _ := os.Readlink("/proc/self/ns/" + kind); err != nil || host == link {
			r.t.Fatalf("the cluster shares %s with the host: %v", link, err)
		}
		own[link] = true
	}
	return own
}

func (r rig) nothingLeft(namespaces map[string]bool) {
	r.t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/*")
	if err != nil || len(links) == 0 {
		r.t.Fatalf("cannot list namespaces: %v", err)
	}
	for _, link := range links {
		if ns, _ := os.Readlink(link); namespaces[ns] && !zombie(link) {
			r.t.Errorf("%s still is in %s", link, ns)
		}
	}
	hierarchies, err := host.Hierarchies()
	if err != nil {
		r.t.Fatal(err)
	}
	if left := cgroup.Left(hierarchies, r.layout.Cgroup()); len(left) > 0 {
		r.t.Errorf("cgroups are left: %v", left)
	}
	hostMounts(r.t, r.layout.Dir())
	entries, err := os.ReadDir(r.layout.Dir())
	if err != nil || len(entries) != 1 || entries[0].Name() != "logs" {
		r.t.Errorf("in the cluster's folder there is more than its logs: %v %v", entries, err)
	}
}

// zombie says whether the process of a namespace link has ended and only waits to be collected,
// which pid 1 of the host does when it likes.
func zombie(link string) bool {
	status, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(link)), "status"))
	return err != nil || bytes.Contains(status, []byte("State:\tZ"))
}

// hostMounts fails when a mount of the cluster shows on the host.
func hostMounts(t *testing.T, dir string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, sign := range []string{dir, "from-pod"} {
		if bytes.Contains(mounts, []byte(sign)) {
			t.Errorf("a mount of the cluster is on the host: %s", sign)
		}
	}
}

func (r rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("never: %s", what)
		}
	}
}
