package events

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// connection is the number of a FUSE connection: the kernel's device number of its super block.
type connection uint64

// anyConnection stands for a descriptor of /dev/fuse of which the kernel does not tell the connection.
const anyConnection = ^connection(0)

// minorBits is the width of the minor in a device number of the kernel (MINORBITS).
const minorBits = 20

func connectionOf(d mountinfo.Device) connection {
	return connection(d.Major)<<minorBits | connection(d.Minor)
}

// isFUSE reports whether a process of user space serves the file system through /dev/fuse.
func isFUSE(fsType string) bool {
	return fsType == "fuse" || fsType == "fuseblk" || strings.HasPrefix(fsType, "fuse.") || strings.HasPrefix(fsType, "fuseblk.")
}

// holder is a process that holds descriptors of /dev/fuse.
type holder struct {
	process     *proc.Process
	connections map[connection]bool // of these descriptors
}

const (
	maxHolders     = 1024 // processes
	maxDescriptors = 4096 // of one process; the kernel lists the lowest first
	namesAtOnce    = 256
)

// findHolders reads the descriptors of all processes below the /proc at root and returns those that hold one of a wanted connection, or
// one whose connection the kernel does not tell. Processes that may not be read, or end meanwhile, are passed over. It ends
// early when quit is closed. The caller releases the processes.
func findHolders(root string, wanted map[connection]bool, quit <-chan struct{}) ([]holder, error) {
	folder, err := os.Open(root) //nolint:gosec // the root of /proc is the operator's choice
	if err != nil {
		return nil, fmt.Errorf("find FUSE daemons: %w", err)
	}
	defer func() { _ = folder.Close() }() // read only
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("find FUSE daemons: %w", err)
	}
	s := search{root: root, wanted: wanted}
	for _, name := range names {
		select {
		case <-quit:
			return s.result(), nil
		default:
		}
		if pid, err := strconv.Atoi(name); err == nil && len(s.found) < maxHolders {
			s.consider(pid)
		}
	}
	return s.result(), nil
}

// search is one scan of /proc.
type search struct {
	root   string
	wanted map[connection]bool
	found  []holder
	told   bool // the kernel tells the connection of a descriptor
}

func (s *search) consider(pid int) {
	connections := connectionsOf(filepath.Join(s.root, strconv.Itoa(pid)))
	for c := range connections {
		s.told = s.told || c != anyConnection
		if c != anyConnection && !s.wanted[c] {
			delete(connections, c)
		}
	}
	if len(connections) == 0 {
		return
	}
	if p, err := proc.Hold(s.root, pid); err == nil {
		s.found = append(s.found, holder{process: p, connections: connections})
	}
}

// result leaves out the descriptors without a connection where the kernel tells of it: they are not mounted.
func (s *search) result() []holder {
	if !s.told {
		return s.found
	}
	return slices.DeleteFunc(s.found, func(h holder) bool {
		delete(h.connections, anyConnection)
		if len(h.connections) > 0 {
			return false
		}
		h.process.Release()
		return true
	})
}

// connectionsOf reads the descriptors of the process with the folder. It follows none of them.
func connectionsOf(folder string) map[connection]bool {
	f, err := os.Open(filepath.Join(folder, "fd")) //nolint:gosec // a folder of /proc
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // read only
	var found map[connection]bool
	for read := 0; read < maxDescriptors; read += namesAtOnce {
		names, err := f.Readdirnames(namesAtOnce)
		for _, name := range names {
			if link, err := os.Readlink(filepath.Join(folder, "fd", name)); err != nil || !isDevice(link) {
				continue
			}
			if found == nil {
				found = map[connection]bool{}
			}
			found[connectionIn(filepath.Join(folder, "fdinfo", name))] = true
		}
		if err != nil {
			break // io.EOF, or the process has ended
		}
	}
	return found
}

// isDevice reports whether a descriptor's link leads to /dev/fuse, as seen from another mount namespace perhaps.
func isDevice(link string) bool { return link == "/fuse" || strings.HasSuffix(link, "/dev/fuse") }

// maxInfo is more than the fdinfo of a character device holds.
const maxInfo = 4096

// connectionIn reads the line that fuse_dev_show_fdinfo of the kernel writes.
func connectionIn(info string) connection {
	f, err := os.Open(info) //nolint:gosec // a file of /proc
	if err != nil {
		return anyConnection
	}
	defer func() { _ = f.Close() }() // read only
	text, err := io.ReadAll(io.LimitReader(f, maxInfo))
	if err != nil {
		return anyConnection
	}
	for line := range strings.Lines(string(text)) {
		number, ok := strings.CutPrefix(line, "fuse_connection:")
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64); err == nil {
			return connection(n)
		}
	}
	return anyConnection
}
