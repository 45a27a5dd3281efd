package space

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Inside is what a new set of namespaces is furnished with.
type Inside struct {
	Dir     string   // for the changes to covered folders; made when missing
	Kubelet string   // stands at /var/lib/kubelet
	Addrs   []string // ADDRESS/BITS of the node, on a bridge of its own
	Local   []string // ADDRESS/BITS on the loopback interface
}

// Furnish mounts and configures. It must be called by pid 1 of the new namespaces, before anything
// else runs there.
func (in Inside) Furnish(ctx context.Context) error {
	if os.Getpid() != 1 {
		return errors.New("not pid 1 of a new namespace: this would change the host")
	}
	for _, step := range []func() error{in.mounts, in.fixSysctls, share} {
		if err := step(); err != nil {
			return err
		}
	}
	return in.network(ctx)
}

func (in Inside) mounts() error {
	// First of all: from here on no mount reaches the host.
	if err := mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	if err := mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	for _, covered := range []string{"/var/lib", "/var/log"} {
		if err := in.cover(covered); err != nil {
			return err
		}
	}
	if err := fuseControl(); err != nil {
		return err
	}
	const kubelet = "/var/lib/kubelet"
	if err := os.MkdirAll(kubelet, 0o755); err != nil {
		return fmt.Errorf("make %s inside the cluster: %w", kubelet, err)
	}
	return mount(in.Kubelet, kubelet, "", unix.MS_BIND, "")
}

// fuseControl mounts what every node with systemd has (sys-fs-fuse-connections.mount). The folder is there where the kernel has FUSE.
func fuseControl() error {
	const connections = "/sys/fs/fuse/connections"
	if _, err := os.Stat(connections); err != nil {
		return nil //nolint:nilerr // then there is no FUSE to control
	}
	return mount("fusectl", connections, "fusectl", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// cover puts an overlay over a folder of the host.
func (in Inside) cover(dir string) error {
	own := filepath.Join(in.Dir, strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-"))
	upper, work := filepath.Join(own, "upper"), filepath.Join(own, "work")
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("make a folder for changes to %s: %w", dir, err)
		}
	}
	return mount("overlay", dir, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work))
}

// fixSysctls shows the kubelet the kernel settings that it would otherwise write, which would
// change the whole machine: a test should not make it panic on an oops.
func (in Inside) fixSysctls() error {
	settings := map[string]string{ // k8s.io/component-helpers/node/util/sysctl
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0",
		"kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	}
	for key, value := range settings {
		file := filepath.Join(in.Dir, "sysctl", key)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("stand in for sysctl %s: %w", key, err)
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("stand in for sysctl %s: %w", key, err)
		}
		if err := mount(file, filepath.Join("/proc/sys", key), "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// share lets mounts travel between pods and the node, as the kubelet needs for mount propagation.
// It comes last: a bind mount made of a shared one would travel with it, and show every volume twice.
func share() error { return mount("none", "/", "", unix.MS_REC|unix.MS_SHARED, "") }

func mount(source, target, fsType string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fsType, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s inside the cluster: %w", source, target, err)
	}
	return nil
}

func (in Inside) network(ctx context.Context) error {
	const bridge = "node0"
	commands := [][]string{{"link", "set", "lo", "up"}, {"link", "add", bridge, "type", "bridge"}}
	for _, addr := range in.Local {
		commands = append(commands, []string{"addr", "add", addr, "dev", "lo"})
	}
	for _, addr := range in.Addrs {
		commands = append(commands, []string{"addr", "add", addr, "dev", bridge})
	}
	commands = append(commands, []string{"link", "set", bridge, "up"})
	for _, args := range commands {
		if err := ip(ctx, args); err != nil {
			return err
		}
	}
	const forward = "/proc/sys/net/ipv4/ip_forward"
	if err := os.WriteFile(forward, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("let the node forward packets: %w", err)
	}
	return nil
}

// ip is busybox's, which the cluster needs anyway; a minimal machine has no iproute2.
func ip(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, "busybox", append([]string{"ip"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
