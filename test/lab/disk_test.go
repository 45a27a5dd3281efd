package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/internal/packages"
)

// diskScenarios are about file systems on block devices: loop devices, here.
func diskScenarios() []scenario {
	return []scenario{
		{
			name: "ext4 turns read-only after an error", does: "`errors=remount-ro`; an error by `/sys/fs/ext4/DEV/trigger_fs_error`",
			want: failed(probes.CauseReadOnly), run: onExt4("errors=remount-ro", (*disk).fail),
		},
		{
			name: "file system remounted read-only", does: "`mount -o remount,ro` of an ext4 on the host after it was writable",
			want: failed(probes.CauseReadOnly), run: onExt4("", (*disk).remountReadOnly),
		},
		{
			name: "ext4 shut down", does: "ioctl EXT4_IOC_SHUTDOWN",
			want: failed(probes.CauseIOError), since: "6.15", run: onExt4("", (*disk).shutdown),
		},
		{
			name: "XFS shut down", does: "ioctl XFS_IOC_GOINGDOWN",
			want: failed(probes.CauseIOError), shows: "EIO", run: onXFS((*disk).shutdown),
		},
		{
			name: "device gone under ext4, the application writes", does: "the device's backing store dies; two writes with fsync",
			want: failed(probes.CauseReadOnly), run: deviceGone("errors=remount-ro", probes.Canary{}, (*disk).write),
		},
		{
			name: "device gone under ext4 with default options, the application writes", does: "the same without `errors=`: the journal is lost",
			want: failed(probes.CauseReadOnly), run: deviceGone("", probes.Canary{}, (*disk).write),
		},
		{
			name: "device gone under ext4, canary", does: "the device's backing store dies; nothing but the canary is read",
			want: failed(probes.CauseCanaryFailed), shows: "EIO from canary", run: deviceGone("", canary, kept),
		},
		{
			name: "squashfs image gone, canary", does: "the image is truncated; nothing but the canary is read",
			want: failed(probes.CauseCanaryFailed), shows: "EIO from canary", since: "6.12",
			run: onSquashfs(canary, (*disk).truncate),
		},
		{
			name: "squashfs image gone, no canary", does: "the image is truncated: the kernel answers for the root from memory, only reads fail",
			want: stays, run: onSquashfs(probes.Canary{}, (*disk).truncate),
		},
		{
			name: "device gone under ext4, no canary, nobody writes", does: "the device's backing store dies: the kernel answers for the root from memory",
			want: stays, run: deviceGone("", probes.Canary{}, kept),
		},
		{
			name: "ext4 has counted an error and takes writes", does: "`errors=continue`; an error by `/sys/fs/ext4/DEV/trigger_fs_error`",
			want: stays, run: onExt4("errors=continue", (*disk).fail),
		},
		{
			name: "disk full", does: "an ext4 filled to its last block",
			want: warned(probes.WarningNoSpace), run: onExt4("", (*disk).fill),
		},
		{
			name: "squashfs, full and read-only by nature", does: "a squashfs image, for a volume that is not marked read-only",
			want: stays, run: onSquashfs(probes.Canary{}, kept),
		},
	}
}

// canary names a file that every disk holds.
var canary = probes.Canary{File: "canary"}

// disk is a file system on a loop device, mounted at a volume's path on the host.
type disk struct {
	image  string
	device string // such as "loop0"
	path   string
}

func onExt4(options string, act func(*disk) error) func(*scene) {
	return func(s *scene) { s.onDisk(s.ext4(s.dir("disks"), options), probes.Canary{}, act) }
}

func onXFS(act func(*disk) error) func(*scene) {
	return func(s *scene) {
		d := s.format("xfs", s.dir("disks"), 300<<20, "mkfs.xfs", "-q")
		s.attach(d, "xfs", "")
		s.onDisk(d, probes.Canary{}, act)
	}
}

func onSquashfs(canary probes.Canary, act func(*disk) error) func(*scene) {
	return func(s *scene) {
		content := s.dir("content")
		s.must(os.WriteFile(filepath.Join(content, "canary"), []byte("tweet"), 0o644))
		d := &disk{image: filepath.Join(s.root, "image"), path: s.csi().source}
		s.run("mksquashfs", content, d.image, "-quiet", "-no-progress", "-no-fragments")
		s.attach(d, "squashfs", "")
		s.onDisk(d, canary, act)
	}
}

// deviceGone keeps the image in a FUSE, which is killed: whatever is asked of the device then fails with EIO.
func deviceGone(options string, canary probes.Canary, then func(*disk) error) func(*scene) {
	return func(s *scene) {
		store := s.fuse(s.dir("store"), faultfs.Options{}) // of which nothing is kept in memory
		d := s.ext4(store.Mountpoint(), options)
		s.onDisk(d, canary, func(d *disk) error { return errors.Join(store.Kill(), then(d)) })
	}
}

// kept leaves a disk as it is.
func kept(*disk) error { return nil }

func (s *scene) onDisk(d *disk, canary probes.Canary, act func(*disk) error) {
	s.t.Helper()
	v := s.csi()
	v.mount.Canary = canary
	s.start(v)
	s.good(1)
	s.must(act(d))
}

// ext4 has a canary on it.
func (s *scene) ext4(folder, options string) *disk {
	s.t.Helper()
	d := s.format("ext4", folder, 16<<20, "mkfs.ext4", "-q", "-F")
	s.attach(d, "ext4", options)
	s.must(writeThrough(filepath.Join(d.path, "canary")))
	return d
}

// format makes an image in the folder, which may be one that mkfs cannot work in.
func (s *scene) format(fstype, folder string, size int64, mkfs ...string) *disk {
	s.t.Helper()
	made := filepath.Join(s.root, fstype+".img")
	s.must(os.WriteFile(made, nil, 0o600))
	s.must(os.Truncate(made, size))
	s.run(append(mkfs, made)...)
	d := &disk{image: filepath.Join(folder, fstype+".img"), path: s.csi().source}
	s.run("cp", "--sparse=always", made, d.image)
	return d
}

// Without a network, as within the test cluster, it is too late for the rows to install them.
func TestToolsOfTheDisks(t *testing.T) {
	needRoot(t)
	must(t, installed())
}

var installed = sync.OnceValue(func() error {
	return packages.Install(context.Background(), os.Stderr,
		packages.Package{Name: "e2fsprogs", There: packages.OnPath("mkfs.ext4")},
		packages.Package{Name: "xfsprogs", There: packages.OnPath("mkfs.xfs")},
		packages.Package{Name: "squashfs-tools", There: packages.OnPath("mksquashfs")},
	)
})

func (s *scene) run(words ...string) {
	s.t.Helper()
	s.must(installed())
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %v\n%s", words, err, out)
	}
}

// attach gives the image a loop device, which goes with its last user, and mounts it.
func (s *scene) attach(d *disk, fstype, options string) {
	s.t.Helper()
	device, err := loop(d.image)
	if errors.Is(err, os.ErrNotExist) {
		s.skip("this machine has no loop devices")
	}
	s.must(err)
	defer device.Close()
	d.device = filepath.Base(device.Name())
	s.mount(device.Name(), d.path, fstype, readOnlyIf(fstype == "squashfs"), options)
}

// mount skips the scenario when the kernel does not know the file system.
func (s *scene) mount(source, path, fstype string, flags uintptr, options string) {
	s.t.Helper()
	err := syscall.Mount(source, path, fstype, flags, options)
	if errors.Is(err, syscall.ENODEV) {
		s.skip("this kernel has no " + fstype)
	}
	s.must(err)
}

func readOnlyIf(yes bool) uintptr {
	if yes {
		return syscall.MS_RDONLY
	}
	return 0
}

// loop attaches a file to a free device, which others may take first.
func loop(image string) (*os.File, error) {
	backing, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	control, err := os.Open("/dev/loop-control")
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &unix.LoopConfig{
			Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("attach %s: %w", image, err)
		}
	}
}

// fail makes an ext4 believe that it has found an error.
func (d *disk) fail() error {
	return os.WriteFile(filepath.Join("/sys/fs/ext4", d.device, "trigger_fs_error"), []byte("lab"), 0)
}

func (d *disk) remountReadOnly() error {
	return syscall.Mount("", d.path, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}

// shutdown ends a file system at once: EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same call, _IOR('X', 125, __u32);
// 2 is to flush nothing.
func (d *disk) shutdown() error {
	const goingDown, noLogFlush = 0x8004587d, 2
	root, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer root.Close()
	return unix.IoctlSetPointerInt(int(root.Fd()), goingDown, noLogFlush)
}

func (d *disk) truncate() error { return os.Truncate(d.image, 0) }

// write is an application's that goes on: the second write finds the journal aborted, since the first could not be committed.
func (d *disk) write() error {
	root, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range []string{"first", "second"} {
		if err := writeThrough(filepath.Join(d.path, name)); err == nil {
			return errors.New("the disk takes writes still")
		}
		_ = unix.Syncfs(int(root.Fd())) // fails, too
	}
	return nil
}

func writeThrough(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("tweet")
	return errors.Join(err, f.Sync())
}

// fill writes until no block is left.
func (d *disk) fill() error {
	f, err := os.Create(filepath.Join(d.path, "full"))
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<16)
	for err == nil {
		if _, err = f.Write(block); errors.Is(err, syscall.ENOSPC) && len(block) > 1 {
			block, err = block[:len(block)/2], nil
		}
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Sync())
}
