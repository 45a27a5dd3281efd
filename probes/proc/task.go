package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// maxTasks is how many threads of one process are looked at.
const maxTasks = 1024

// Task is one thread.
type Task struct {
	TID    int
	Comm   string // its own choice
	State  byte   // of proc_pid_stat(5): D waits and cannot be killed, Z has exited
	Kernel bool   // it is the kernel's own
	Wchan  string // the function of the kernel that it sleeps in; "" when it does not, or the kernel does not tell
}

// Dead reports whether the thread has exited.
func (t Task) Dead() bool { return stat{state: t.State}.dead() }

// Tasks returns the threads of a process, up to 1024 of them. It is ErrGone when there is no such process.
//
// What it reads never waits for the thread. That cannot be said of syscall and stack (they wait for a program that is being started, and so
// for the files that this closes) nor of cmdline and environ (they wait for the process's memory).
func Tasks(root string, pid int) ([]Task, error) {
	folder := root + "/" + strconv.Itoa(pid) + "/task"
	names, err := readNames(folder)
	if err != nil {
		return nil, fmt.Errorf("list threads of %d: %w", pid, gone(err))
	}
	var tasks []Task
	for _, name := range names[:min(len(names), maxTasks)] {
		tid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if t, ok := readTask(folder+"/"+name+"/", tid); ok {
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// readTask is not ok when the thread has vanished.
func readTask(folder string, tid int) (t Task, ok bool) {
	text, err := os.ReadFile(folder + "stat") //nolint:gosec // a file of /proc
	if err != nil {
		return t, false
	}
	st, err := parseStat(string(text))
	if err != nil {
		return t, false
	}
	t = Task{TID: tid, Comm: st.comm, State: st.state, Kernel: isKernel(string(text))}
	if text, err = os.ReadFile(folder + "wchan"); err == nil { //nolint:gosec // a file of /proc
		t.Wchan = wchan(string(text))
	}
	return t, true
}

// isKernel understands the field flags of proc_pid_stat(5).
func isKernel(stat string) bool {
	const flags, kthread = 6, 0x00200000 // field 9 of the manual; PF_KTHREAD of linux/sched.h
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= flags {
		return false
	}
	n, err := strconv.ParseUint(fields[flags], 10, 64)
	return err == nil && n&kthread != 0
}

// wchan understands proc_pid_wchan(5): a name, or "0" when there is none to tell. Kernels have put an offset behind it.
func wchan(text string) string {
	name, _, _ := strings.Cut(strings.TrimSpace(text), "+")
	if name == "0" {
		return ""
	}
	return name
}
