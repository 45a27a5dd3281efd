package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Component is one program to run.
type Component struct {
	Name string
	Path string   // of the binary
	Args []string // without the program's name
	Env  []string // added to the supervisor's own
	// Ready returns nil once the component does its work. It is called again and again until then,
	// each time with a context of its own.
	Ready func(context.Context) error
}

// State is what a component is doing.
type State string

// The states of a component.
const (
	Waiting  State = "waiting"  // its turn has not come
	Starting State = "starting" // runs, not ready yet
	Running  State = "running"  // was ready
	Stopped  State = "stopped"  // somebody asked for it
	Died     State = "died"     // nobody asked for it
)

// ComponentStatus is what Status tells of one component.
type ComponentStatus struct {
	Name    string    `json:"name"`
	State   State     `json:"state"`
	PID     int       `json:"pid,omitempty"` // as seen inside the cluster
	Since   time.Time `json:"since"`         // of the last change of state
	Ended   string    `json:"ended,omitempty"`
	LogTail string    `json:"logTail,omitempty"` // of a component that died
	NotYet  string    `json:"notYet,omitempty"`  // why it is not ready
}

const (
	readyEvery = 100 * time.Millisecond
	readyLimit = 5 * time.Second // one call of Ready
	tailLines  = 20
	tailBytes  = 8 << 10
)

// unit is one component at run time. Its fields are guarded by the Supervisor's mutex.
type unit struct {
	Component
	status  ComponentStatus
	process *os.Process
	gone    chan struct{} // closed when the process has ended and its state is set
	killed  bool          // by Stop
}

func (u *unit) set(s State) {
	u.status.State, u.status.Since = s, time.Now()
}

// ended notes how the process ended.
func (u *unit) ended(w syscall.WaitStatus, log string) {
	u.status.PID, u.status.NotYet, u.status.Ended = 0, "", describe(w)
	if u.killed {
		u.set(Stopped)
	} else {
		u.set(Died)
		u.status.LogTail = Tail(log)
	}
	close(u.gone)
}

func describe(w syscall.WaitStatus) string {
	if w.Signaled() {
		return fmt.Sprintf("killed by signal %d (%v)", int(w.Signal()), w.Signal())
	}
	return fmt.Sprintf("exit status %d", w.ExitStatus())
}

// LogFile is where the output of the component name is kept, below the folder of logs.
func LogFile(logs, name string) string { return filepath.Join(logs, name+".log") }

// Tail returns the last lines of a log, or why it cannot be read.
func Tail(path string) string {
	text, err := tail(path)
	if err != nil {
		return "no log: " + err.Error()
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

func tail(path string) (_ string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, size-tailBytes), tailBytes))
	return string(text), err
}
