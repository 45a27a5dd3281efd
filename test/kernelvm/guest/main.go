package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/kernelvm/internal/script"
)

// port is where the guest talks to its host: the first one has the kernel's messages.
const port = "/dev/ttyS1"

func main() {
	if err := mountKernels(); err != nil {
		fmt.Println(err)
		return // the kernel panics, and so the machine ends
	}
	out, err := os.OpenFile(port, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	var one sync.Mutex
	say := func(format string, args ...any) {
		one.Lock()
		defer one.Unlock()
		fmt.Fprintf(out, script.Mark+format+"\n", args...)
	}
	if err := live(say); err != nil {
		say("%v", err)
	} else {
		say(script.Done)
	}
	_ = unix.IoctlSetInt(int(out.Fd()), unix.TCSBRK, 1) // until all is sent
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		say("power off: %v", err)
	}
}

// live does all that the machine is for.
func live(say func(string, ...any)) error {
	say("kernel %s", release())
	for _, step := range []func() error{newRoot, mountOthers, loadModules, raiseLoopback} {
		if err := step(); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(script.File)
	if err != nil {
		return err
	}
	var jobs []script.Job
	if err := json.Unmarshal(text, &jobs); err != nil {
		return fmt.Errorf("%s: %w", script.File, err)
	}
	var all sync.WaitGroup
	for _, job := range jobs {
		all.Go(func() { do(job, say) })
	}
	all.Wait()
	reap()
	return nil
}

// do runs a job and says all that it says, line by line.
func do(job script.Job, say func(string, ...any)) {
	lines := &lineWriter{line: func(text string) { say("%s", script.Said(job.Name, text)) }}
	ended := run(job, lines)
	lines.flush()
	for _, file := range job.Keep {
		if text, err := os.ReadFile(file); err == nil { // a job that has failed may not have written it
			say("%s", script.Kept(file, string(text)))
		}
	}
	say("%s", ended)
}

func release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(name.Release[:])
}
