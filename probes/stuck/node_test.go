package stuck

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	podA = "1f0c6a52-7d0e-4c8e-9a43-0b5e6d2f8c11"
	podB = "c2b7d9e4-33a1-4f0f-8d6c-5a9e7b104f20"
)

// node is a /proc of files, and what of the host's fusectl it leads to.
type node struct {
	t    *testing.T
	root string
	host []string // lines of the host's table
}

// newNode has the host's first process, with the mounts that every host has.
func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, root: t.TempDir()}
	n.addProcess(1, 'S', "", "0::/init.scope")
	n.addHostMount("0:20", "/", "ext4")
	return n
}

func (n *node) write(text string, path ...string) {
	n.t.Helper()
	file := filepath.Join(append([]string{n.root}, path...)...)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) read(path ...string) string {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{n.root}, path...)...))
	if err != nil {
		n.t.Fatal(err)
	}
	return string(text)
}

func (n *node) remove(path ...string) {
	n.t.Helper()
	if err := os.RemoveAll(filepath.Join(append([]string{n.root}, path...)...)); err != nil {
		n.t.Fatal(err)
	}
}

// addProcess makes one with a single thread and the lines as its mounts, the first of which
// identifies the namespace. Without lines it has no mounts, as a process that has exited.
func (n *node) addProcess(pid int, state byte, wchan, cgroup string, lines ...string) {
	n.t.Helper()
	id := strconv.Itoa(pid)
	n.write(cgroup+"\n", id, "cgroup")
	n.addThread(pid, pid, state, wchan)
	if len(lines) > 0 {
		n.write(strings.Join(lines, ""), id, "mountinfo")
	}
}

func (n *node) addThread(pid, tid int, state byte, wchan string) {
	n.t.Helper()
	n.write(statusText(state), strconv.Itoa(pid), "task", strconv.Itoa(tid), "status")
	n.write(wchan, strconv.Itoa(pid), "task", strconv.Itoa(tid), "wchan")
}

// addContainer makes a process of a container of the pod, in a mount namespace of its own.
func (n *node) addContainer(pid int, uid string, state byte, wchan string, lines ...string) {
	n.t.Helper()
	n.addProcess(pid, state, wchan, "0::/kubepods/burstable/pod"+uid+"/"+strings.Repeat("a1", 32), append([]string{rootLine(pid)}, lines...)...)
}

// rootLine is the line of the root directory of the process that a namespace began with.
func rootLine(pid int) string {
	return fmt.Sprintf("%d 1 0:30 / / rw - overlay overlay rw\n", 1000+pid)
}

func statusText(state byte) string {
	text := fmt.Sprintf("Name:\tapp\nState:\t%c (state)\nKthread:\t0\n", state)
	if state == 'Z' {
		return text
	}
	return text + "VmSize:\t    8332 kB\nVmExe:\t      16 kB\n"
}

// addHostMount adds a mount to the host.
func (n *node) addHostMount(device, point, fsType string) {
	n.t.Helper()
	n.host = append(n.host, mountLine(device, point, fsType))
	n.write(strings.Join(n.host, ""), "1", "mountinfo")
}

// addConnection makes the FUSE connection of a device known to the host's fusectl.
func (n *node) addConnection(minor, waiting int) {
	n.t.Helper()
	n.write(fmt.Sprintln(waiting), connectionFile(minor, "waiting")...)
	n.write("", connectionFile(minor, "abort")...)
}

func connectionFile(minor int, name string) []string {
	return []string{"1/root/sys/fs/fuse/connections", strconv.Itoa(minor), name}
}

func mountLine(device, point, fsType string) string {
	return fmt.Sprintf("36 35 %s / %s rw,relatime shared:1 - %s source rw\n", device, strings.ReplaceAll(point, " ", `\040`), fsType)
}

func volumePath(uid string) string {
	return "/var/lib/kubelet/pods/" + uid + "/volumes/kubernetes.io~csi/data/mount"
}
