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

const podUID = "1f0c6a52-7d0e-4c8e-9a43-0b5e6d2f8c11"

// The forms that kubelets and runtimes write.
func TestIsOfPod(t *testing.T) {
	under := strings.ReplaceAll(podUID, "-", "_")
	for text, want := range map[string]bool{
		"0::/kubepods/burstable/pod" + podUID + "/" + idA:                            true,
		"0::/kubepods/pod" + podUID + "\n":                                           true,
		"0::/kubepods/pod" + podUID:                                                  true,
		"3:cpu:/\n2:pids:/kubepods/besteffort/pod" + podUID + "/" + idA + "\n0::/\n": true,
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/cri-containerd-" + idA + ".scope": true,
		"0::/../../kubepods-besteffort-pod" + under + ".slice/crio-" + idA + ".scope/container":                                  true,
		"1:name=systemd:/system.slice/containerd.service/kubepods-pod" + under + ".slice:cri-containerd:" + idA:                  true,
		"0::/docker/" + idC + "/kubelet/kubepods/pod" + podUID + "/" + idA:                                                       true,
		"0::/kubepods/pod2f0c6a52-7d0e-4c8e-9a43-0b5e6d2f8c11/" + idB + "/kubepods/pod" + podUID + "/" + idA:                     true,
		"0::/kubepods/burstable/pod" + podUID + "0/" + idA:                                                                       false,
		"0::/kubepods/burstable/pod" + podUID[:35] + "/" + idA:                                                                   false,
		"0::/kubepods/burstable/mypod" + podUID + "/" + idA:                                                                      false,
		"0::/kubepods/burstable/" + podUID + "/" + idA:                                                                           false,
		"0::/kubepods/burstable/pod" + podUID + "-x/pod" + strings.ToUpper(podUID):                                               false,
		"0::/kubepods.slice/kubepods-pod" + under + "x.slice/" + idA:                                                             false,
		"0::/system.slice/kubelet.service":                                                                                       false,
		"":                                                                                                                       false,
	} {
		if got := isOfPod(text, podUID); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestOfPod(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(1, "systemd", 'S', 1, "0::/init.scope")
	tree.addProcess(12, "app", 'D', 50, "0::/kubepods/pod"+podUID+"/"+idA)
	tree.addProcess(9, "pause", 'S', 40, "0::/kubepods/pod"+podUID+"/"+idB)
	tree.addProcess(13, "other", 'S', 40, "0::/kubepods/pod00000000-7d0e-4c8e-9a43-0b5e6d2f8c11/"+idB)
	tree.addDir("self", "not a number", 'S', 40, "0::/kubepods/pod"+podUID)
	if err := os.Mkdir(filepath.Join(tree.root, "14"), 0o755); err != nil { // is just exiting
		t.Fatal(err)
	}
	got, err := OfPod(tree.root, podUID)
	if err != nil || !slices.Equal(got, []int{9, 12}) {
		t.Errorf("%v %v, want 9 and 12", got, err)
	}
	if all, err := All(tree.root); err != nil || !slices.Equal(all, []int{1, 9, 12, 13, 14}) {
		t.Errorf("all: %v %v", all, err)
	}
	if got, err := OfPod(filepath.Join(tree.root, "none"), podUID); err == nil {
		t.Errorf("%v of no /proc", got)
	}
}

// A UID is a part of a path: a text that is none could name other directories.
func TestInvalidUID(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(9, "app", 'S', 40, "0::/kubepods/pod"+podUID+"/"+idB)
	for _, uid := range []string{"", "/", "..", podUID + "/", "a b", "a\n", "a_b", strings.Repeat("a", 65)} {
		if got, err := OfPod(tree.root, uid); !errors.Is(err, ErrInvalidUID) {
			t.Errorf("%q: %v %v", uid, got, err)
		}
		p, err := Peek(tree.root, 9)
		if err != nil {
			t.Fatal(err)
		}
		if p.InPod(uid) {
			t.Errorf("a process is of the pod %q", uid)
		}
		p.Release()
	}
}

// FuzzIsOfPod: what is found is there, between the right characters; where the UID is not, no text
// makes it so.
func FuzzIsOfPod(f *testing.F) {
	f.Add("0::/kubepods/pod"+podUID+"/"+idA, podUID)
	f.Add("0::/kubepods-pod"+strings.ReplaceAll(podUID, "-", "_")+".slice", podUID)
	f.Add("0::/kubepods/podab/poda", "a")
	f.Fuzz(func(t *testing.T, text, uid string) {
		if !validUID(uid) {
			return
		}
		want := false
		for _, name := range []string{uid, strings.ReplaceAll(uid, "-", "_")} {
			for _, begin := range []string{"/", "-"} {
				for _, end := range []string{"/", "\n", ".slice"} {
					want = want || strings.Contains(text, begin+"pod"+name+end)
				}
				want = want || strings.HasSuffix(text, begin+"pod"+name)
			}
		}
		if got := isOfPod(text, uid); got != want {
			t.Errorf("%q of %q: %t", text, uid, got)
		}
	})
}

// task makes a thread of a process.
func (p tree) addTask(pid, tid int, files map[string]string) {
	p.t.Helper()
	dir := filepath.Join(p.root, strconv.Itoa(pid), "task", strconv.Itoa(tid))
	err := os.MkdirAll(dir, 0o755)
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// statusText is a /proc/PID/status of a program; code is the size of its own.
func statusText(comm, state, code string) string {
	return "Name:\t" + comm + "\nUmask:\t0022\nState:\t" + state + "\nTgid:\t7\nKthread:\t0\nVmPeak:\t    8332 kB\nVmSize:\t    8332 kB\nVmExe:\t    " + code + " kB\n"
}

func TestTasks(t *testing.T) {
	tree := newTree(t)
	const waits, sleeps = "D (disk sleep)", "S (sleeping)"
	tree.addTask(7, 7, map[string]string{"status": "Name:\tapp\nState:\tZ (zombie)\nTgid:\t7\n"})
	tree.addTask(7, 8, map[string]string{"status": statusText(`a\nState: b`, waits, "16"), "wchan": "request_wait_answer"})
	tree.addTask(7, 9, map[string]string{"status": statusText("old", waits, "16"), "wchan": "rpc_wait_bit_killable+0x10/0x20 [sunrpc]\n"})
	tree.addTask(7, 10, map[string]string{"status": "Name:\tkworker\nState:\tI (idle)\nKthread:\t1\n"})
	tree.addTask(7, 11, map[string]string{"status": "?"}) // is just exiting
	tree.addTask(7, 12, map[string]string{"status": statusText("execs", waits, "0"), "wchan": "would wait"})
	tree.addTask(7, 13, map[string]string{"status": statusText("sleeps", sleeps, "16"), "wchan": "might wait"})
	tree.addTask(7, 14, map[string]string{"status": "Name:\texits\nState:\tD (disk sleep)\n", "wchan": "fuse_flush"})
	tree.addTask(7, 15, map[string]string{"status": statusText("hidden", waits, "16"), "wchan": "0"})
	got, err := Tasks(tree.root, 7)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b Task) int { return a.TID - b.TID })
	want := []Task{
		{TID: 7, Comm: "app", State: 'Z'}, {TID: 8, Comm: `a\nState: b`, State: 'D', Wchan: "request_wait_answer"},
		{TID: 9, Comm: "old", State: 'D', Wchan: "rpc_wait_bit_killable"}, {TID: 10, Comm: "kworker", State: 'I', Kernel: true},
		{TID: 12, Comm: "execs", State: 'D', Execs: true}, {TID: 13, Comm: "sleeps", State: 'S'},
		{TID: 14, Comm: "exits", State: 'D', Ending: true, Wchan: "fuse_flush"}, {TID: 15, Comm: "hidden", State: 'D'},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, err := Tasks(tree.root, 99); !errors.Is(err, ErrGone) {
		t.Errorf("%v %v of a process that is gone", got, err)
	}
}

// FuzzParseStatus: what is parsed has a state that stands in the text.
func FuzzParseStatus(f *testing.F) {
	f.Add(statusText("app", "D (disk sleep)", "16"))
	f.Add("State:\t")
	f.Fuzz(func(t *testing.T, text string) {
		task, err := parseStatus(text)
		if err == nil && !strings.Contains(text, "State:\t"+string([]byte{task.State})) || task.Kernel && !strings.Contains(text, "Kthread:\t1") {
			t.Errorf("%q: %+v", text, task)
		}
		if task.Execs && !strings.Contains(text, "VmSize:\t") {
			t.Errorf("%q execs without a memory", text)
		}
	})
}

// The first thread of a process may have exited; its mounts are those of the others.
func TestOpenMounts(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(7, "app", 'Z', 50, "0::/kubepods/pod"+podUID)
	p, err := Peek(tree.root, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	if f, err := p.OpenMounts(tree.root); !errors.Is(err, ErrGone) {
		t.Errorf("%v %v of a process with no threads", f, err)
	}
	tree.addTask(7, 8, map[string]string{"status": statusText("app", "S (sleeping)", "16"), "mountinfo": "text"})
	f, err := p.OpenMounts(tree.root)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if !p.InPod(podUID) || p.InPod("other") {
		t.Error("is of its pod, and of no other")
	}
	if p, err := Peek(tree.root, 9); !errors.Is(err, ErrGone) {
		t.Errorf("%v %v of nobody", p, err)
	}
}

// A process may have any number of threads; only the first ones are read.
func TestTooManyTasks(t *testing.T) {
	tree := newTree(t)
	for tid := range 1030 {
		tree.addTask(7, tid+1, map[string]string{"status": statusText("app", "S (sleeping)", "16")})
	}
	if got, err := Tasks(tree.root, 7); err != nil || len(got) != maxTasks {
		t.Errorf("%d %v", len(got), err)
	}
}

// This process has threads, and is not the kernel's.
func TestOwnTasks(t *testing.T) {
	got, err := Tasks("/proc", os.Getpid())
	if err != nil || len(got) == 0 {
		t.Fatal(got, err)
	}
	for _, task := range got {
		if task.Kernel || task.Execs || task.Comm == "" {
			t.Errorf("%+v", task)
		}
	}
}
