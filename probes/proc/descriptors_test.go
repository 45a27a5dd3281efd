package proc

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// descriptor gives the process an open file.
func (p tree) addDescriptor(pid, fd int, link string) {
	p.t.Helper()
	p.addLink(pid, "fd/"+strconv.Itoa(fd), link)
}

func (p tree) addLink(pid int, name, to string) {
	p.t.Helper()
	path := filepath.Join(p.root, strconv.Itoa(pid), name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
		p.t.Fatal(err)
	}
}

func (p tree) peek(pid int) *Process {
	p.t.Helper()
	held, err := Peek(p.root, pid)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(held.Release)
	return held
}

func TestDescriptors(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(7, "app", 'S', 50, "0::/")
	for fd, link := range []string{"/dev/null", "/dev/fuse", "/x/dev/fuse", "anon_inode:[eventpoll]", "/dev/fuse", "/fuse", strings.Repeat("/dev/fuse", 40)} {
		tree.addDescriptor(7, fd, link)
	}
	got, err := tree.peek(7).Descriptors("/dev/fuse", "/fuse")
	slices.Sort(got)
	if err != nil || !slices.Equal(got, []string{"1", "4", "5"}) {
		t.Errorf("%v %v", got, err)
	}
	if got, err := tree.peek(7).Descriptors("/none"); err != nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
}

// To read the links of a process that execve keeps may wait for as long as that does.
func TestDescriptorsWithinExecve(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(7, "app", 'S', 50, "0::/")
	tree.addDescriptor(7, 3, "/dev/fuse")
	if err := os.WriteFile(filepath.Join(tree.root, "7/status"), []byte(statusText("app", "D (disk sleep)", "0")), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := tree.peek(7).Descriptors("/dev/fuse"); !errors.Is(err, errExecs) || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
	tree.addLink(7, "ns/user", "user:[1]")
	if tree.peek(7).IsPrivileged(tree.root) {
		t.Error("it is called privileged, by a link that may wait")
	}
}

// A tenant opens as many files as he likes.
func TestTooManyDescriptors(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(7, "app", 'S', 50, "0::/")
	for fd := range maxDescriptors + 100 {
		tree.addDescriptor(7, fd, "/dev/fuse")
	}
	if got, err := tree.peek(7).Descriptors("/dev/fuse"); err != nil || len(got) != maxDescriptors {
		t.Errorf("%d %v", len(got), err)
	}
}

func TestDescriptorsOfNobody(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(7, "app", 'S', 50, "0::/")
	if got, err := tree.peek(7).Descriptors("/dev/fuse"); !errors.Is(err, ErrGone) {
		t.Errorf("%v %v of a process without a folder of descriptors", got, err)
	}
}

// A file that this process has open is found among its descriptors, and by its number.
func TestOwnDescriptors(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	self, err := Self("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Release()
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(file.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	if len(path) > maxLink {
		t.Skip("its name is longer than those that are asked for")
	}
	if got, err := self.Descriptors(path); err != nil || !slices.Equal(got, []string{strconv.Itoa(int(file.Fd()))}) {
		t.Errorf("%v %v", got, err)
	}
}

func TestIsPrivileged(t *testing.T) {
	const ours, theirs = "user:[4026531837]", "user:[4026532999]"
	for _, row := range []struct {
		name, caps, namespace string
		want                  bool
	}{
		{"root of the node", "000001ffffffffff", ours, true},
		{"SYS_ADMIN alone", "0000000000200000", ours, true},
		{"all others", "000001ffffdfffff", ours, false},
		{"none", "0000000000000000", ours, false},
		{"root of another user namespace", "000001ffffffffff", theirs, false},
		{"no word of capabilities", "", ours, false},
		{"no number", "all", ours, false},
		{"no word of the namespace", "000001ffffffffff", "", false},
	} {
		tree := newTree(t)
		tree.addProcess(1, "self", 'S', 1, "0::/")
		tree.addLink(1, "ns/user", ours)
		if err := os.Symlink("1", filepath.Join(tree.root, "self")); err != nil {
			t.Fatal(err)
		}
		tree.addProcess(7, "app", 'S', 50, "0::/")
		text := statusText("app", "S (sleeping)", "16") + "CapEff:\t" + row.caps + "\n"
		if err := os.WriteFile(filepath.Join(tree.root, "7/status"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if row.namespace != "" {
			tree.addLink(7, "ns/user", row.namespace)
		}
		if got := tree.peek(7).IsPrivileged(tree.root); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}
