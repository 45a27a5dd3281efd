package mountns_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/faultfs/mountns"
)

// What the first life saw, for the second to compare with.
const (
	namespaceEnv = "MOUNTNS_TEST_NAMESPACE"
	pidEnv       = "MOUNTNS_TEST_PID"
)

func TestMain(m *testing.M) {
	if os.Getenv(namespaceEnv) == "" {
		_ = os.Setenv(namespaceEnv, namespace("/proc/self/ns/mnt"))
		_ = os.Setenv(pidEnv, strconv.Itoa(os.Getpid()))
	}
	if err := mountns.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func namespace(link string) string {
	name, err := os.Readlink(link)
	if err != nil {
		return err.Error()
	}
	return name
}

func TestEveryThreadIsInTheNewNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	before, mine := os.Getenv(namespaceEnv), namespace("/proc/self/ns/mnt")
	if mine == before {
		t.Errorf("still in %s", mine)
	}
	for _, task := range tasks {
		if got := namespace("/proc/self/task/" + task.Name() + "/ns/mnt"); got != mine {
			t.Errorf("thread %s is in %s, want %s", task.Name(), got, mine)
		}
	}
	if got := strconv.Itoa(os.Getpid()); got != os.Getenv(pidEnv) {
		t.Errorf("process id %s, want %s as before", got, os.Getenv(pidEnv))
	}
}

func TestMountsStayInside(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if inside := table(t, "/proc/self/mountinfo"); !strings.Contains(inside, dir) {
		t.Error("the mount is not here")
	}
	if outside := table(t, fmt.Sprintf("/proc/%d/mountinfo", os.Getppid())); strings.Contains(outside, dir) {
		t.Error("the mount reached the parent process")
	}
	if strings.Contains(table(t, "/proc/self/mountinfo"), " shared:") {
		t.Error("a mount is shared still")
	}
}

func table(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A program below, such as a test's child that enters by itself, gets its own.
func TestTheMarkIsNotInherited(t *testing.T) {
	if mark, ok := os.LookupEnv("MOUNTNS_ENTERED"); ok {
		t.Errorf("the mark %q is left in the environment", mark)
	}
}
