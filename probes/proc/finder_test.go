package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// tree is a /proc of files.
type tree struct {
	t    *testing.T
	root string
}

func newTree(t *testing.T) tree { return tree{t, t.TempDir()} }

func (p tree) addProcess(pid int, comm string, state byte, inner int, cgroup string) {
	p.t.Helper()
	p.addDir(strconv.Itoa(pid), comm, state, inner, cgroup)
}

func (p tree) addDir(name, comm string, state byte, inner int, cgroup string) {
	p.t.Helper()
	dir := filepath.Join(p.root, name)
	err := errors.Join(os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "status"), fmt.Appendf(nil, "Name:\t%s\nState:\t%c (x)\nNSpid:\t9\t%d\n", comm, state, inner), 0o600),
		os.WriteFile(filepath.Join(dir, "cgroup"), []byte(cgroup+"\n"), 0o600))
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p tree) remove(pid int) {
	p.t.Helper()
	if err := os.RemoveAll(filepath.Join(p.root, strconv.Itoa(pid))); err != nil {
		p.t.Fatal(err)
	}
}

// newFinder returns a Finder whose clock stands still until it is moved.
func (p tree) newFinder() (*Finder, *time.Time) {
	now := time.Unix(1000, 0)
	f := NewFinder(p.root)
	f.now = func() time.Time { return now }
	p.t.Cleanup(f.Close)
	return f, &now
}

func expectPID(t *testing.T, f *Finder, id string, pid int) *Process {
	t.Helper()
	p, err := f.Find(id)
	if err != nil {
		t.Fatal(err)
	}
	if p.PID != pid {
		t.Errorf("found %d, want %d", p.PID, pid)
	}
	return p
}

func expectNone(t *testing.T, f *Finder, id string) {
	t.Helper()
	if p, err := f.Find(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("found %+v %v, want none", p, err)
	}
}

func TestWhichProcess(t *testing.T) {
	for _, row := range []struct {
		name string
		make func(tree)
		want int // 0 for none
	}{
		{"the only one", func(p tree) { p.addProcess(7, "app", 'S', 50, "0::/pod/"+idA) }, 7},
		{"the first of its pid namespace, not the smallest id of the node", func(p tree) {
			p.addProcess(7, "exec", 'S', 12, "0::/pod/"+idA)
			p.addProcess(9, "app", 'S', 2, "0::/pod/"+idA)
		}, 9},
		{"of two with one id the smaller of the node", func(p tree) {
			p.addProcess(9, "b", 'S', 50, "0::/pod/"+idA)
			p.addProcess(7, "a", 'S', 50, "0::/pod/"+idA)
		}, 7},
		{"in the container before nested in it", func(p tree) {
			p.addProcess(7, "nested", 'S', 40, "0::/pod/"+idA+"/docker/"+idC)
			p.addProcess(9, "app", 'S', 50, "0::/pod/"+idA)
		}, 9},
		{"the real one before one that another container names so", func(p tree) {
			p.addProcess(7, "forged", 'S', 40, "0::/pod/"+idC+"/"+idA)
			p.addProcess(9, "app", 'S', 50, "0::/pod/"+idA)
		}, 9},
		{"on a node that is a container itself", func(p tree) { p.addProcess(7, "app", 'S', 50, "0::/docker/"+idC+"/pod/"+idA) }, 7},
		{"not conmon by name", func(p tree) { p.addProcess(7, "conmon", 'S', 40, "0::/pod/"+idA) }, 0},
		{"not conmon by cgroup", func(p tree) { p.addProcess(7, "x", 'S', 40, "0::/crio-conmon-"+idA+".scope") }, 0},
		{"not pause", func(p tree) { p.addProcess(7, "pause", 'S', 40, "0::/pod/"+idB) }, 0},
		{"not a zombie", func(p tree) {
			p.addProcess(7, "app", 'Z', 40, "0::/pod/"+idA)
			p.addDir("7/task/7", "app", 'Z', 40, "0::/pod/"+idA)
		}, 0},
		{"a zombie with a live thread", func(p tree) {
			p.addProcess(7, "app", 'Z', 40, "0::/pod/"+idA)
			p.addDir("7/task/7", "app", 'Z', 40, "0::/pod/"+idA)
			p.addDir("7/task/8", "app", 'S', 41, "0::/pod/"+idA)
		}, 7},
		{"malformed status", func(p tree) {
			p.addProcess(7, "app", 'S', 50, "0::/pod/"+idA)
			if err := os.WriteFile(filepath.Join(p.root, "7/status"), []byte("?"), 0o600); err != nil {
				p.t.Fatal(err)
			}
		}, 0},
		{"vanishing", func(p tree) {
			p.addProcess(7, "app", 'S', 50, "0::/pod/"+idA)
			if err := os.Remove(filepath.Join(p.root, "7/status")); err != nil {
				p.t.Fatal(err)
			}
		}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			tree := newTree(t)
			row.make(tree)
			tree.addProcess(1, "init", 'S', 1, "0::/init.scope")
			if err := os.MkdirAll(filepath.Join(tree.root, "self"), 0o755); err != nil {
				t.Fatal(err)
			}
			f, _ := tree.newFinder()
			if row.want == 0 {
				expectNone(t, f, idA)
				return
			}
			p := expectPID(t, f, idA, row.want)
			if err := p.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInvalidID(t *testing.T) {
	f, _ := newTree(t).newFinder()
	if _, err := f.Find("containerd://" + idA); !errors.Is(err, ErrInvalidID) {
		t.Error(err)
	}
}

func TestNoProc(t *testing.T) {
	f := NewFinder(filepath.Join(t.TempDir(), "none"))
	if _, err := f.Find(idA); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotFound) {
		t.Errorf("an unreadable /proc is not an absent container: %v", err)
	}
}

// What lies inside a container that somebody asks for is never another container.
func TestForgedInsideAKnownContainer(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(7, "tenant", 'S', 50, "0::/pod/"+idA)
	tree.addProcess(8, "forged", 'S', 60, "0::/pod/"+idA+"/"+idB)
	f, _ := tree.newFinder()
	expectPID(t, f, idA, 7)
	expectNone(t, f, idB)
}

func TestOneScanServesAll(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(7, "a", 'S', 50, "0::/"+idA)
	tree.addProcess(8, "b", 'S', 50, "0::/"+idB)
	f, now := tree.newFinder()
	const scan = 10 * time.Millisecond
	f.now = func() time.Time { // each scan takes that long on this clock
		defer func() { *now = now.Add(scan) }()
		return *now
	}
	first := expectPID(t, f, idA, 7)
	if again := expectPID(t, f, idA, 7); again != first {
		t.Error("a living process was looked for again")
	}
	expectPID(t, f, idB, 8) // from the index, since no scan is allowed now
	tree.addProcess(9, "c", 'S', 60, "0::/"+idC)
	expectNone(t, f, idC)
	*now = now.Add(scanShare * 2 * scan)
	expectPID(t, f, idC, 9)
}

func TestPauseAfterASlowScanIsBounded(t *testing.T) {
	tree := newTree(t)
	f, now := tree.newFinder()
	f.now = func() time.Time { // each scan takes a minute of this clock
		defer func() { *now = now.Add(time.Minute) }()
		return *now
	}
	expectNone(t, f, idA)
	f.now = func() time.Time { return *now }
	tree.addProcess(7, "a", 'S', 50, "0::/"+idA)
	*now = now.Add(maxPause - time.Minute - time.Nanosecond) // the clock went on when the scan's end was read
	expectNone(t, f, idA)
	*now = now.Add(time.Nanosecond)
	expectPID(t, f, idA, 7)
}

func TestRestartedContainer(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(7, "a", 'S', 50, "0::/"+idA)
	f, now := tree.newFinder()
	old := expectPID(t, f, idA, 7)

	// The id is given to another process: the held directory does not become its own.
	tree.remove(7)
	tree.addProcess(7, "stranger", 'S', 70, "0::/"+idB)
	if _, err := old.Read("cgroup"); !errors.Is(err, ErrGone) {
		t.Errorf("read a stranger's file: %v", err)
	}
	expectNone(t, f, idA)
	tree.addProcess(8, "a", 'S', 80, "0::/"+idA)
	*now = now.Add(time.Hour)
	expectPID(t, f, idA, 8)
	if err := old.Check(); !errors.Is(err, ErrGone) {
		t.Errorf("a process that was let go: %v", err)
	}
}

func TestUnusedProcessesAreReleased(t *testing.T) {
	tree := newTree(t)
	tree.addProcess(7, "a", 'S', 50, "0::/"+idA)
	tree.addProcess(8, "b", 'S', 50, "0::/"+idB)
	f, now := tree.newFinder()
	a := expectPID(t, f, idA, 7)
	*now = now.Add(releaseAfter + time.Second)
	expectPID(t, f, idB, 8)
	if err := a.Check(); !errors.Is(err, ErrGone) || len(f.held) != 1 {
		t.Errorf("still held: %v, %d containers", err, len(f.held))
	}
}

func TestSelf(t *testing.T) {
	p, err := Self("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	if p.PID != os.Getpid() || p.Serial == 0 {
		t.Errorf("%+v", p)
	}
	if text, err := p.Read("comm"); err != nil || text == "" {
		t.Errorf("%q %v", text, err)
	}
	if _, err := Self(t.TempDir()); err == nil {
		t.Error("no self, no error")
	}
	root := t.TempDir()
	if err := os.Symlink("thread", filepath.Join(root, "self")); err != nil {
		t.Fatal(err)
	}
	if _, err := Self(root); err == nil {
		t.Error("self is no process id, no error")
	}
}

// A held directory of a real process says so, at each step of its death.
func TestDeadProcess(t *testing.T) {
	child := exec.Command("/bin/sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := openProcess("/proc", child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(30 * time.Second)
	for p.Check() == nil { // it becomes a zombie, since nobody waits for it
		select {
		case <-deadline:
			t.Fatal("still alive")
		case <-time.After(time.Millisecond):
		}
	}
	if f, err := p.Open("mountinfo"); !errors.Is(err, ErrGone) {
		t.Errorf("mounts of a zombie: %v %v", f, err)
	}
	_ = child.Wait() // killed
	if err := p.Check(); !errors.Is(err, ErrGone) {
		t.Errorf("reaped: %v", err)
	}
	if _, err := openProcess("/proc", child.Process.Pid); !errors.Is(err, ErrGone) {
		t.Errorf("reaped: %v", err)
	}
}
