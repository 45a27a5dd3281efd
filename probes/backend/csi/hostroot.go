package csi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/mountwarden/mountwarden/probes/backend/ask"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/proc"
)

var (
	errNoSocket = errors.New("it is no socket")
	errNoFile   = errors.New("it is no plain file")
	errTooMany  = errors.New("there are more files than are looked at")
)

const (
	maxFile    = 64 << 10 // largest file of the kubelet in bytes
	maxEntries = 256      // files of a registry, over all its directories
	maxDepth   = 3        // of those directories
)

// hostRoot is the root directory of the host. Paths are absolute paths of the host.
type hostRoot struct{ fd int }

// openHostRoot opens the root directory of a process. It needs CAP_SYS_PTRACE where the process has
// privileges that this one lacks (ptrace(2), PTRACE_MODE_READ_FSCREDS).
func openHostRoot(of ask.Root) (r hostRoot, err error) {
	process, err := proc.Hold(of.Proc, of.PID)
	if err != nil {
		return r, fmt.Errorf("find the host's process %d: %w", of.PID, err)
	}
	defer process.Release()
	err = process.Hand(func(dir int) (err error) {
		r.fd, err = sys.OpenDirAt(dir, "root")
		return err
	})
	if err != nil {
		return r, fmt.Errorf("open the root folder of the host's process %d: %w", of.PID, err)
	}
	return r, nil
}

func (r hostRoot) close() { sys.Close(r.fd) }

// openPath opens a path with O_PATH, which has no effect on what is there, and returns its type.
func (r hostRoot) openPath(at string) (fd int, kind uint32, err error) {
	fd, err = sys.OpenInRoot(r.fd, at)
	if err != nil {
		return -1, 0, fmt.Errorf("open %q on the host: %w", at, err)
	}
	kind, err = sys.FileType(fd)
	if err != nil {
		sys.Close(fd)
		return -1, 0, fmt.Errorf("tell the type of %q on the host: %w", at, err)
	}
	return fd, kind, nil
}

// openForReading opens a path for reading, if it has the wanted type.
func (r hostRoot) openForReading(at string, kind uint32, otherwise error) (*os.File, error) {
	fd, is, err := r.openPath(at)
	if err != nil {
		return nil, err
	}
	defer sys.Close(fd)
	if is != kind {
		return nil, fmt.Errorf("open %q on the host: %w", at, otherwise)
	}
	file, err := sys.Reopen(fd)
	if err != nil {
		return nil, fmt.Errorf("open %q on the host for reading: %w", at, err)
	}
	return os.NewFile(uintptr(file), at), nil
}

// readHostFile reads a small file.
func (r hostRoot) readHostFile(at string) ([]byte, error) {
	f, err := r.openForReading(at, syscall.S_IFREG, errNoFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("it has more than the %d bytes that are read", maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read %q on the host: %w", at, err)
	}
	return text, nil
}

// listSockets lists the sockets in a directory and in its subdirectories. Like the kubelet it skips
// names that begin with a dot.
func (r hostRoot) listSockets(dir string) (all []string, err error) {
	room := maxEntries
	err = r.walkSockets(dir, maxDepth, &room, func(at string) { all = append(all, at) })
	return all, err
}

func (r hostRoot) walkSockets(dir string, depth int, room *int, found func(at string)) error {
	names, err := r.listNames(dir, room)
	if err != nil {
		return err
	}
	for _, name := range names {
		at := path.Join(dir, name)
		fd, kind, err := r.openPath(at)
		if err != nil {
			continue // gone since it was listed, or a symlink to nowhere
		}
		sys.Close(fd)
		switch {
		case strings.HasPrefix(name, "."):
		case kind == syscall.S_IFSOCK:
			found(at)
		case kind == syscall.S_IFDIR && depth > 1:
			if err := r.walkSockets(at, depth-1, room, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// listNames lists a directory. It returns names only: for more, package os would look up paths, in
// this process's root.
func (r hostRoot) listNames(dir string, room *int) ([]string, error) {
	f, err := r.openForReading(dir, syscall.S_IFDIR, syscall.ENOTDIR)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	names, err := f.Readdirnames(*room + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list %q on the host: %w", dir, err)
	}
	if *room -= len(names); *room < 0 {
		return nil, fmt.Errorf("list %q on the host: %w: %d", dir, errTooMany, maxEntries)
	}
	return names, nil
}

// errConnect says that the socket exists, and that connecting to it failed.
var errConnect = errors.New("connect")

// dialSocket connects to a socket by its descriptor, so that it is the one that was checked,
// whatever is at the path by then.
func (r hostRoot) dialSocket(ctx context.Context, at string) (net.Conn, error) {
	fd, kind, err := r.openPath(at)
	if err != nil {
		return nil, err
	}
	defer sys.Close(fd)
	if kind != syscall.S_IFSOCK {
		return nil, fmt.Errorf("open %q on the host: %w", at, errNoSocket)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(fd))
	if err != nil {
		return nil, fmt.Errorf("%w to %q on the host: %w", errConnect, at, err)
	}
	return conn, nil
}
