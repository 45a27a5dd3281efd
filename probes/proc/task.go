package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// maxTasks is how many threads of one process are read.
const maxTasks = 1024

// Task is one thread.
type Task struct {
	TID      int
	Comm     string           // its own choice
	State    byte             // of proc_pid_status(5): D waits and cannot be killed, Z has exited
	Kernel   bool             // it is the kernel's own
	Ending   bool             // killed, it has given its memory back and waits for others to exit
	Execs    bool             // it is within execve(2), past the point of no return
	Wchan    string           // the kernel function that it waits in; in state D only, and not within execve
	innerPID int              // its process's id in its own pid namespace
	caps     sys.Capabilities // effective ones, in its own user namespace
}

// isDead reports whether the task has exited: a zombie (Z) has no mounts any more.
func (t Task) isDead() bool { return t.State == 'Z' || t.State == 'X' || t.State == 'x' }

var errStatus = errors.New("malformed status of a process")

// Tasks returns the threads of a process, up to 1024 of them. It is ErrGone when there is no such
// process.
//
// What it reads does not wait. Of a process within execve that cannot be said of stat, wchan,
// syscall, stack and ns (measured on Linux 6.18.44), nor of the links root, cwd, exe and fd: it
// holds exec_update_lock while it closes its files (begin_new_exec of the kernel), indefinitely
// where one is on a dead FUSE. And cmdline and environ wait for the process's memory. This process
// reads status, cgroup and mountinfo of any process; the links of fd and ns of one that is not
// within execve; and fdinfo of one that IsPrivileged (see there).
func Tasks(root string, pid int) ([]Task, error) {
	dir := root + "/" + strconv.Itoa(pid) + "/task"
	names, err := readNames(dir)
	if err != nil {
		return nil, fmt.Errorf("list threads of %d: %w", pid, asGone(err))
	}
	var tasks []Task
	for _, name := range names[:min(len(names), maxTasks)] {
		tid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if t, ok := readTask(dir+"/"+name+"/", tid); ok {
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// readTask is not ok when the thread has ended. A thread in state D that is not within execve will
// not begin one meanwhile: it waits, and has most probably been killed.
func readTask(dir string, tid int) (t Task, ok bool) {
	text, err := os.ReadFile(dir + "status") //nolint:gosec // a file of /proc
	if err != nil {
		return t, false
	}
	t, err = parseStatus(string(text))
	t.TID = tid
	if err != nil || t.State != 'D' || t.Execs {
		return t, err == nil
	}
	if text, err = os.ReadFile(dir + "wchan"); err == nil { //nolint:gosec // a file of /proc
		t.Wchan = parseWchan(string(text))
	}
	return t, true
}

// parseStatus parses proc_pid_status(5), in which a newline in the name is escaped. Once execve
// has given a process its new memory, and before the program is in it, the memory is there and its
// code has no size.
func parseStatus(text string) (t Task, err error) {
	memory, code := false, false
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":\t")
		switch key {
		case "Name":
			t.Comm = value
		case "State":
			t.State = (value + " ")[0]
		case "NSpid": // of every namespace from the reader's to its own
			t.innerPID, _ = strconv.Atoi(value[strings.LastIndexByte(value, '\t')+1:]) // 0 when there is none
		case "CapEff":
			caps, _ := strconv.ParseUint(value, 16, 64) // none when it is not given
			t.caps = sys.Capabilities(caps)
		case "Kthread": // since Linux 6.10
			t.Kernel = value == "1"
		case "VmSize":
			memory = true
		case "VmExe":
			code = strings.TrimSpace(value) != "0 kB"
		}
	}
	if t.State <= ' ' {
		return t, fmt.Errorf("%w: it tells no state", errStatus)
	}
	t.Execs = memory && !code
	t.Ending = !memory && !t.Kernel && t.State != 'Z' && t.State != 'X'
	return t, nil
}

// parseWchan parses proc_pid_wchan(5): a name, or "0" when there is none. Some kernels append an
// offset.
func parseWchan(text string) string {
	name, _, _ := strings.Cut(strings.TrimSpace(text), "+")
	if name == "0" {
		return ""
	}
	return name
}
