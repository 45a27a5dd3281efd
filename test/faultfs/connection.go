package faultfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotMounted is wrapped by errors that say that no FUSE mount is where one was
// expected.
var ErrNotMounted = errors.New("no FUSE mount")

// ConnectionAt gives the number of the FUSE connection that is mounted on top at
// mountpoint in this process's mount namespace. It reads text only and so does not
// touch the mount. The error is an ErrNotMounted when there is none.
func ConnectionAt(mountpoint string) (int, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return 0, fmt.Errorf("find the mount at %q: %w", mountpoint, err)
	}
	defer func() { _ = f.Close() }()
	return findConnection(f, mountpoint)
}

// findConnection reads mountinfo(5) text. The last line of a mount point is the one
// on top.
func findConnection(mountinfo io.Reader, mountpoint string) (int, error) {
	found := -1
	lines := bufio.NewReader(mountinfo)
	for {
		line, err := lines.ReadString('\n')
		if n, ok := connectionOfLine(line, mountpoint); ok {
			found = n
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return 0, fmt.Errorf("read mountinfo: %w", err)
		case found < 0:
			return 0, fmt.Errorf("%w at %q: it is not in this process's mount namespace", ErrNotMounted, mountpoint)
		default:
			return found, nil
		}
	}
}

// connectionOfLine gives the minor number of a line about mountpoint, or -1 when it
// is no FUSE; ok is false for a line about another place. The optional fields end
// with the first "-" from the seventh field on; the file system's type follows.
func connectionOfLine(line, mountpoint string) (n int, ok bool) {
	fields := strings.Split(line, " ")
	if len(fields) < 7 || unescape(fields[4]) != mountpoint {
		return 0, false
	}
	end := slices.Index(fields[6:], "-")
	if end < 0 || len(fields) < 6+end+2 {
		return 0, false
	}
	minor, isAnonymous := strings.CutPrefix(fields[2], "0:")
	n, err := strconv.Atoi(minor)
	if err != nil || n < 0 || !isAnonymous || !strings.HasPrefix(fields[6+end+1], "fuse.") {
		return -1, true
	}
	return n, true
}

// unescape undoes the kernel's octal escapes of mount points.
func unescape(field string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(field)
}

// abort ends a FUSE connection: all its requests, held or to come, fail, and tasks
// that waited in state D go on.
func abort(connection int) error {
	file, err := openControl(connection, "abort", unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if _, err := file.WriteString("1"); err != nil {
		return fmt.Errorf("abort FUSE connection %d: %w", connection, err)
	}
	return nil
}

// waiting gives the number of requests that the connection has not answered yet.
func waiting(connection int) (int, error) {
	file, err := openControl(connection, "waiting", unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	var n int
	if _, err := fmt.Fscan(file, &n); err != nil {
		return 0, fmt.Errorf("read the requests that wait on FUSE connection %d: %w", connection, err)
	}
	return n, nil
}

// openControl opens a file of a connection in fusectl. Often no one has mounted
// that (/sys/fs/fuse/connections is empty in containers), so it is mounted here
// without a place in any namespace (fsopen(2)); the mount ends with its descriptor.
// The file system is one for all its mounts.
func openControl(connection int, name string, flags int) (*os.File, error) {
	root, err := mountFusectl()
	if err != nil {
		return nil, fmt.Errorf("mount fusectl: %w", err)
	}
	defer func() { _ = unix.Close(root) }()
	path := fmt.Sprintf("%d/%s", connection, name)
	fd, err := unix.Openat(root, path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open fusectl file %q: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func mountFusectl() (int, error) {
	ctx, err := unix.Fsopen("fusectl", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(ctx) }()
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, err
	}
	return unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, 0)
}
