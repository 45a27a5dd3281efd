package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	v2Machine = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 22 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
`
	v1Machine = `30 22 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:29 / /sys/fs/cgroup/memory rw shared:10 master:3 - cgroup cgroup rw,memory
33 30 0:28 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:36 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
`
	hybridMachine = v1Machine + "40 30 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)

func TestHierarchies(t *testing.T) {
	v1 := []Hierarchy{
		{Path: "/sys/fs/cgroup/cpu,cpuacct", Options: []string{"rw", "cpu", "cpuacct"}},
		{Path: "/sys/fs/cgroup/memory", Options: []string{"rw", "memory"}},
		{Path: "/sys/fs/cgroup/systemd", Options: []string{"rw", "name=systemd"}},
	}
	for _, c := range []struct {
		name, mountinfo string
		want            []Hierarchy
	}{
		{"version 2", v2Machine, []Hierarchy{{Path: "/sys/fs/cgroup", V2: true, Options: []string{"rw", "nsdelegate"}}}},
		{"version 1, one of them mounted twice", v1Machine, v1},
		{"hybrid", hybridMachine, append(v1, Hierarchy{Path: "/sys/fs/cgroup/unified", V2: true, Options: []string{"rw"}})},
		{"none", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", nil},
		{"cut off", "22 1 8:1 / /sys\n - cgroup\n1 2 3 - cgroup cgroup rw\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Hierarchies(strings.NewReader(c.mountinfo))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func FuzzHierarchies(f *testing.F) {
	f.Add(v2Machine)
	f.Add(hybridMachine)
	f.Fuzz(func(t *testing.T, mountinfo string) {
		found, _ := Hierarchies(strings.NewReader(mountinfo))
		seen := map[string]int{}
		for _, h := range found {
			seen[h.Path]++
			if h.Path == "" || len(h.Options) == 0 {
				t.Errorf("half a hierarchy: %+v", h)
			}
		}
	})
}

// unified is a folder that looks like the root of a version 2 hierarchy with these controllers.
func unified(t *testing.T, controllers string) Hierarchy {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte(controllers), 0o644); err != nil {
		t.Fatal(err)
	}
	return Hierarchy{Path: dir, V2: true}
}

func TestCheck(t *testing.T) {
	v1 := []Hierarchy{{Options: []string{"rw", "cpu", "cpuacct"}}, {Options: []string{"cpuset"}}, {Options: []string{"memory"}}}
	pids := Hierarchy{Options: []string{"rw", "pids"}}
	for _, c := range []struct {
		name string
		all  []Hierarchy
		want string
	}{
		{"version 1", append(v1[:3:3], pids), ""},
		{"version 2", []Hierarchy{unified(t, "cpuset cpu io memory hugetlb pids rdma\n")}, ""},
		{"hybrid", append(v1[:3:3], unified(t, "pids")), ""},
		{"version 1 without pids", v1, "the controller pids"},
		{"version 2 without memory", []Hierarchy{unified(t, "cpuset cpu pids\n")}, "the controller memory"},
		{"none", nil, "none is mounted"},
		{"unreadable", []Hierarchy{{Path: "/no/such", V2: true}}, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check(c.all)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, ErrHierarchy) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCreateTwiceAndRemove(t *testing.T) {
	all := []Hierarchy{{Path: t.TempDir()}, {Path: t.TempDir()}, unified(t, "hugetlb")}
	for range 2 {
		if err := Create(all, "ours"); err != nil {
			t.Fatal(err)
		}
	}
	neighbour := filepath.Join(all[0].Path, "ours-not")
	below := filepath.Join(all[0].Path, "ours", "kubepods", "burstable", "pod1")
	for _, dir := range []string{neighbour, below} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if left := Left(all, "ours"); len(left) != 3 {
		t.Errorf("made: %v", left)
	}
	if _, err := os.Stat(filepath.Join(all[2].Path, "cgroup.subtree_control")); err == nil {
		t.Error("a hybrid machine's unified hierarchy was changed")
	}
	for range 2 {
		if err := Remove(context.Background(), all, "ours"); err != nil {
			t.Fatal(err)
		}
	}
	if left := Left(all, "ours"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(neighbour); err != nil {
		t.Errorf("the neighbour is gone: %v", err)
	}
}

func TestVersion2PassesControllersOn(t *testing.T) {
	h := unified(t, "cpu pids\n")
	if err := Create([]Hierarchy{h}, "ours"); err != nil {
		t.Fatal(err)
	}
	// A plain file keeps the last write; the kernel would add them up.
	last, err := os.ReadFile(filepath.Join(h.Path, "cgroup.subtree_control"))
	if err != nil || string(last) != "+pids" {
		t.Errorf("got %q, %v", last, err)
	}
}

func TestCreateWhereItMayNot(t *testing.T) {
	if err := Create([]Hierarchy{{Path: "/no/such"}}, "ours"); err == nil {
		t.Error("no error for a missing hierarchy")
	}
	if err := Create([]Hierarchy{{Path: "/no/such", V2: true}}, "ours"); !errors.Is(err, ErrHierarchy) {
		t.Errorf("got %v", err)
	}
}

// A real group with a process inside cannot be removed until that is gone.
func TestRemoveWaitsForProcesses(t *testing.T) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := Hierarchies(f)
	if err != nil || len(all) == 0 || os.Geteuid() != 0 {
		t.Skip("makes a real cgroup: needs root and a mounted hierarchy")
	}
	one, name := all[len(all)-1:], "mwcgrouptest"
	if err := os.Mkdir(filepath.Join(one[0].Path, name), 0o755); err != nil {
		t.Fatal(err)
	}
	child := sleeper(t)
	if err := join(one[0].Path, name, child); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*retryEvery)
	defer cancel()
	if err := Remove(ctx, one, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("removed with a process inside: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed: an error by design
	long, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	if err := Remove(long, one, name); err != nil {
		t.Error(err)
	}
}
