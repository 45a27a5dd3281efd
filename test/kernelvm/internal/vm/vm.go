package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	firstLineWithin = 30 * time.Second
	boots           = 3 // tries
	memory          = "1536"
)

// The errors of Run.
var (
	ErrSilent     = errors.New("the guest did not say anything")
	ErrUnfinished = errors.New("the guest ended without its last line")
)

// Machine is what is booted.
type Machine struct {
	QEMU    string // folder that QEMU's packages are unpacked into
	Kernel  string
	Initrd  string
	Disks   []string // raw images; the guest has them as /dev/vda and so on
	Console string   // file for the kernel's messages
	Within  time.Duration
}

// Run boots the machine, hands each line that its guest says to line, and returns when it has ended. done recognizes the last line.
// A boot without any line is tried again.
func (m Machine) Run(ctx context.Context, line func(string), done func(string) bool) error {
	for try := 1; ; try++ {
		err := m.boot(ctx, line, done)
		if !errors.Is(err, ErrSilent) || try == boots || ctx.Err() != nil {
			return err
		}
		line(fmt.Sprintf("boot %d of %d: %v", try, boots, err))
	}
}

func (m Machine) boot(ctx context.Context, line func(string), done func(string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, m.Within)
	defer cancel()
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := m.command(ctx)
	cmd.ExtraFiles = []*os.File{in}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	runtime.LockOSThread() // QEMU is killed when the thread ends that has started it
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	_ = in.Close() // QEMU has its own
	if err != nil {
		return err
	}
	patience := time.AfterFunc(firstLineWithin, cancel)
	lines, finished := read(out, func(text string) {
		patience.Stop()
		line(text)
	}, done)
	err = cmd.Wait()
	patience.Stop()
	switch {
	case finished:
		return nil
	case lines == 0:
		return errors.Join(fmt.Errorf("%w within %s; QEMU said %q", ErrSilent, firstLineWithin, said.String()), err, ctx.Err())
	default:
		return errors.Join(fmt.Errorf("%w; QEMU said %q; see %s", ErrUnfinished, said.String(), m.Console), err, ctx.Err())
	}
}

// read returns how many lines there were, and whether the last one was among them.
func read(from io.Reader, line func(string), done func(string) bool) (lines int, finished bool) {
	r := bufio.NewReader(from)
	for {
		text, err := r.ReadString('\n')
		if text = strings.TrimRight(text, "\r\n"); text != "" {
			lines++
			line(text)
			finished = finished || done(text)
		}
		if err != nil {
			return lines, finished
		}
	}
}

// command runs QEMU with the libraries that came with it, whatever the host has.
func (m Machine) command(ctx context.Context) *exec.Cmd {
	in := func(path string) string { return filepath.Join(m.QEMU, path) }
	libraries := in("usr/lib/x86_64-linux-gnu") + ":" + in("lib/x86_64-linux-gnu")
	args := []string{
		"--library-path", libraries, in("usr/bin/qemu-system-x86_64"), "-L", in("usr/share/qemu"), "-L", in("usr/share/seabios"),
		"-M", "pc", "-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2", "-m", memory,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "file:" + m.Console, "-chardev", "file,id=said,path=/dev/fd/3", "-serial", "chardev:said",
		"-kernel", m.Kernel, "-initrd", m.Initrd,
		"-append", "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check random.trust_cpu=on audit=0",
	}
	for i, disk := range m.Disks {
		args = append(args, "-drive", fmt.Sprintf("file=%s,format=raw,if=none,cache=unsafe,id=d%d", disk, i), "-device", fmt.Sprintf("virtio-blk-pci,drive=d%d", i))
	}
	cmd := exec.CommandContext(ctx, in("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"), args...)
	cmd.Env = append(os.Environ(), "QEMU_MODULE_DIR="+in("usr/lib/x86_64-linux-gnu/qemu"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	return cmd
}
