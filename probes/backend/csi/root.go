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
	maxFile    = 64 << 10 // bytes of a file of the kubelet
	maxEntries = 256      // files of a registry, over all its folders
	maxDepth   = 3        // of those folders
)

// root is the root folder of the host. Paths are the host's, absolute.
type root struct{ fd int }

// openRoot opens the root folder of a process. It needs CAP_SYS_PTRACE where the process has privileges that this one lacks.
func openRoot(of ask.Root) (r root, err error) {
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

func (r root) close() { sys.Close(r.fd) }

// open opens a path without a look at what is there, and tells its type.
func (r root) open(at string) (fd int, kind uint32, err error) {
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

// reopen opens what open has opened for reading.
func (r root) reopen(at string, kind uint32, otherwise error) (*os.File, error) {
	fd, is, err := r.open(at)
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

// read reads a small file.
func (r root) read(at string) ([]byte, error) {
	f, err := r.reopen(at, syscall.S_IFREG, errNoFile)
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

// sockets lists the sockets in a folder and the folders in it, as the kubelet does: what begins with a dot is passed over.
func (r root) sockets(folder string) (all []string, err error) {
	room := maxEntries
	err = r.walk(folder, maxDepth, &room, func(at string) { all = append(all, at) })
	return all, err
}

func (r root) walk(folder string, depth int, room *int, found func(at string)) error {
	names, err := r.names(folder, room)
	if err != nil {
		return err
	}
	for _, name := range names {
		at := path.Join(folder, name)
		fd, kind, err := r.open(at)
		if err != nil {
			continue // gone since it was listed, or a symlink to nowhere
		}
		sys.Close(fd)
		switch {
		case strings.HasPrefix(name, "."):
		case kind == syscall.S_IFSOCK:
			found(at)
		case kind == syscall.S_IFDIR && depth > 1:
			if err := r.walk(at, depth-1, room, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// names lists a folder. Names only: for more, package os would look up paths, in this process's root.
func (r root) names(folder string, room *int) ([]string, error) {
	f, err := r.reopen(folder, syscall.S_IFDIR, syscall.ENOTDIR)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	names, err := f.Readdirnames(*room + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list %q on the host: %w", folder, err)
	}
	if *room -= len(names); *room < 0 {
		return nil, fmt.Errorf("list %q on the host: %w: %d", folder, errTooMany, maxEntries)
	}
	return names, nil
}

// errConnect tells that there is a socket, and that it was tried.
var errConnect = errors.New("connect")

// dial connects to a socket. The kernel finds it by the descriptor, whatever is at the path by then.
func (r root) dial(ctx context.Context, at string) (net.Conn, error) {
	fd, kind, err := r.open(at)
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
