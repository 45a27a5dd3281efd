package lab_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/proc"
)

const cgroupRoot = "/sys/fs/cgroup"

// needV2 skips the test where the machine has the cgroups of version 1, whose trees are tested from recordings (package proc).
func needV2(t *testing.T) {
	t.Helper()
	needRoot(t)
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err != nil {
		t.Skip("needs cgroups of version 2 alone: make test-kernels")
	}
}

// Containers are found in the trees that kubelets and runtimes make, by who has a cgroup namespace of its own as well: all paths begin with
// as many ".." there as it is deep.
func TestContainersInKubepods(t *testing.T) {
	needV2(t)
	const pod = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
	trees := map[string]string{
		"cgroupfs":             "kubepods/burstable/pod" + pod + "/ID",
		"cgroupfs, guaranteed": "kubepods/pod" + pod + "/ID",
		"systemd, containerd":  "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(pod, "-", "_") + ".slice/cri-containerd-ID.scope",
		"systemd, CRI-O":       "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + strings.ReplaceAll(pod, "-", "_") + ".slice/crio-ID.scope",
		"nested":               "kubepods/burstable/pod" + pod + "/ID/init.scope",
		"nested kubepods":      "kubepods.slice/kubepods-pod" + strings.ReplaceAll(pod, "-", "_") + ".slice/cri-containerd-ID.scope/kubepods/podx/inner",
	}
	agent := makeCgroup(t, makeCgroup(t, filepath.Join(cgroupRoot, "agent"))+"/below")
	group, err := os.Open(agent)
	must(t, err)
	defer group.Close()
	lookers := map[string]prober{
		"the node's namespace": newLooker(t, nodeOptions()),
		"its own namespace": startLooker(t, nodeOptions(),
			&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWCGROUP, UseCgroupFD: true, CgroupFD: int(group.Fd())}, nil),
	}
	for name, tree := range trees {
		c := newContainer(t, spec{Cgroup: tree, Binds: map[string]string{"/data": t.TempDir()}})
		for from, p := range lookers {
			if o := lookAt(t, p, podOf(c, "/data"), timeout); o.Health != probes.Healthy {
				t.Errorf("%s from %s: %+v", name, from, o)
			}
		}
		pids, err := proc.OfPod("/proc", pod)
		must(t, err)
		if !slices.Contains(pids, c.cmd.Process.Pid) {
			t.Errorf("%s: %d is not among the processes of the pod, %v", name, c.cmd.Process.Pid, pids)
		}
	}
}
