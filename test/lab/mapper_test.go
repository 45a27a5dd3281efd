package lab_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// diskEnv names a disk that may be overwritten, such as /dev/vda of a virtual machine. There is none without.
const diskEnv = "MOUNTWARDEN_LAB_DISK"

// sliceSize is what a mapped device gets of the disk, in sectors: XFS takes 300 MiB at least.
const sliceSize = 320 << 11

// mapped is a device of the device mapper over a part of the disk (Documentation/admin-guide/device-mapper).
type mapped struct {
	t      *testing.T
	name   string
	device string // such as "dm-0"
	linear string // the table of a device that works
}

// newMapped makes one over the nth part.
func newMapped(t *testing.T, n int) *mapped {
	t.Helper()
	m := &mapped{t: t, name: fmt.Sprintf("lab-%d", n), linear: fmt.Sprintf("%s %d", os.Getenv(diskEnv), n*sliceSize)}
	reply := m.control(unix.DM_DEV_CREATE, 0, nil)
	m.device = fmt.Sprintf("dm-%d", unix.Minor(binary.LittleEndian.Uint64(reply[40:])))
	t.Cleanup(func() { // when it is unmounted
		eventually(t, m.device+" removed", func() bool { _, err := m.try(unix.DM_DEV_REMOVE, 0, nil); return err == nil })
	})
	m.works()
	return m
}

func (m *mapped) path() string { return "/dev/" + m.device }

// works lets the device be what is below it.
func (m *mapped) works() { m.load("linear", m.linear) }

// fails lets whatever is asked of the device fail.
func (m *mapped) fails() { m.load("error", "") }

// suspends lets whatever is asked of the device wait.
func (m *mapped) suspends() { m.control(unix.DM_DEV_SUSPEND, dmSuspend|dmSkipLock|dmNoFlush, nil) }

// Flags of struct dm_ioctl (include/uapi/linux/dm-ioctl.h).
const (
	dmSuspend  = 1 << 1
	dmSkipLock = 1 << 10
	dmNoFlush  = 1 << 11
)

// load replaces the device's table, which holds one target.
func (m *mapped) load(target, arguments string) {
	m.t.Helper()
	spec := make([]byte, (40+len(arguments)+1+7)&^7)
	binary.LittleEndian.PutUint64(spec[8:], sliceSize)
	binary.LittleEndian.PutUint32(spec[20:], uint32(len(spec)))
	copy(spec[24:], target)
	copy(spec[40:], arguments)
	m.control(unix.DM_TABLE_LOAD, 0, spec)
	m.control(unix.DM_DEV_SUSPEND, dmSuspend|dmSkipLock|dmNoFlush, nil)
	m.control(unix.DM_DEV_SUSPEND, 0, nil) // goes on with the new table
}

func (m *mapped) control(request uint, flags uint32, targets []byte) []byte {
	m.t.Helper()
	reply, err := m.try(request, flags, targets)
	must(m.t, err)
	return reply
}

// try makes one call to the device mapper.
func (m *mapped) try(request uint, flags uint32, targets []byte) ([]byte, error) {
	f, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const header = 312
	text := make([]byte, 16<<10)
	for at, value := range map[int]uint32{0: 4, 12: uint32(len(text)), 16: header, 28: flags} {
		binary.LittleEndian.PutUint32(text[at:], value)
	}
	if targets != nil {
		binary.LittleEndian.PutUint32(text[20:], 1)
	}
	copy(text[48:], m.name)
	copy(text[header:], targets)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(unsafe.Pointer(&text[0])))
	runtime.KeepAlive(text)
	if errno != 0 {
		return nil, fmt.Errorf("device mapper: %s: %w", m.name, errno)
	}
	return text, nil
}
