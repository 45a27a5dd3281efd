package lab_test

import (
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/probes/events"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// The descriptors of a container that holdEpoll and swapDescriptors use. Go's own are below.
const (
	epollFD   = 100
	swappedFD = 101 // and those that follow
	swapped   = 32
)

// A tenant has epoll_wait(2) write to a page of a FUSE that does not answer. Whoever reads the
// fdinfo of the epoll then waits for its lock, and cannot be killed. Others of his descriptors read
// /dev/fuse at one moment and are that epoll at the next. The daemons of other pods are found all
// the same, again and again.
func TestHostileEpoll(t *testing.T) {
	dead := newVolume(t, faultfs.Options{Content: "a page"})
	tenant := newContainer(t, spec{Binds: map[string]string{"/data": dead.Mountpoint()}, Modes: map[string]uint32{"/dev": 0o755}})
	t.Cleanup(func() { must(t, dead.Clear()) }) // before the container is waited for
	tenant.do(t, "create", "/dev/fuse")
	tenant.do(t, "map", "/data/"+faultfs.DefaultCanary)
	tenant.do(t, "become", "65534")
	must(t, dead.Hang(faultfs.Read))
	tenant.do(t, "epoll")
	pid := tenant.cmd.Process.Pid
	expectReaderWaits(t, dead, fmt.Sprintf("/proc/%d/fdinfo/%d", pid, epollFD))
	tenant.do(t, "swap", "/dev/fuse")

	w := events.New(events.Options{})
	t.Cleanup(w.Close)
	for i := range 3 { // a scan each
		daemon := newVolume(t, faultfs.Options{})
		held := pidfds(t, daemon.Pid())
		device := mountinfo.Device{Minor: uint32(daemon.Connection())}
		w.Watch(strconv.Itoa(i), []events.WatchTarget{{FileSystems: []events.FileSystem{{Device: device, FSType: "fuse.faultfs"}}}})
		eventually(t, "the daemon is found", func() bool { return pidfds(t, daemon.Pid()) > held })
	}
}

// expectReaderWaits shows that a process which reads the file waits in the kernel until the volume
// answers again.
func expectReaderWaits(t *testing.T, s *faultfs.Server, file string) {
	t.Helper()
	reader := exec.Command("cat", file)
	must(t, reader.Start())
	t.Cleanup(func() {
		must(t, s.Clear())
		_ = reader.Wait() // what it has read does not matter
	})
	eventually(t, "the reader of "+file+" waits", func() bool {
		tasks, err := proc.Tasks("/proc", reader.Process.Pid)
		must(t, err)
		return len(tasks) == 1 && tasks[0].State == 'D'
	})
}

// filePage is a page of a file that was not read yet.
var filePage []byte

func mapFile(path string) error {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	filePage, err = unix.Mmap(fd, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	return err
}

// holdEpoll has a thread wait for an event that is there, and the kernel write it to the mapped
// page.
func holdEpoll() error {
	event, err := unix.Eventfd(1, unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.Dup3(epoll, epollFD, unix.O_CLOEXEC); err != nil {
		return err
	}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return err
	}
	go func() {
		runtime.LockOSThread()
		_, _, _ = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&filePage[0])), 1, 0, 0, 0)
	}()
	return nil
}

// swapDescriptors makes descriptors stand for the file and for the epoll in turn, for as long as
// the process lives.
func swapDescriptors(path string) error {
	file, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	go func() {
		runtime.LockOSThread()
		for {
			for fd := range swapped {
				_ = unix.Dup3(file, swappedFD+fd, unix.O_CLOEXEC)
			}
			for fd := range swapped {
				_ = unix.Dup3(epollFD, swappedFD+fd, unix.O_CLOEXEC)
			}
		}
	}()
	return nil
}
