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

// findHolders reads the descriptors of all processes below the /proc at root and returns those that hold one of a wanted connection, or,
// where the kernel does not tell the connections, any. Processes that may not be read, or end meanwhile, are passed over. It ends
// early when quit is closed. The caller releases the processes.
//
// It reads fdinfo, which does not wait. Only a kernel that tells no connection there has the links of fd read, too: those of a process
// within execve may take for ever (see proc.Tasks). Such a process is passed over, but for one that begins at that very moment.
func findHolders(root string, wanted map[connection]bool, quit <-chan struct{}) ([]holder, error) {
	pids, err := proc.All(root)
	if err != nil {
		return nil, fmt.Errorf("find FUSE daemons: %w", err)
	}
	s := search{root: root, wanted: wanted, quit: quit}
	s.each(pids, s.told)
	if !s.tells {
		s.each(pids, s.linked)
	}
	return s.found, nil
}

// search is one scan of /proc.
type search struct {
	root   string
	wanted map[connection]bool
	quit   <-chan struct{}
	found  []holder
	tells  bool // the kernel tells the connection of a descriptor
}

// each enters the processes of which connections returns any.
func (s *search) each(pids []int, connections func(pid int) map[connection]bool) {
	for _, pid := range pids {
		select {
		case <-s.quit:
			return
		default:
		}
		if len(s.found) >= maxHolders {
			return
		}
		if held := connections(pid); len(held) > 0 {
			if p, err := proc.Hold(s.root, pid); err == nil {
				s.found = append(s.found, holder{process: p, connections: held})
			}
		}
	}
}

// told returns the wanted connections of which the process's fdinfo tells.
func (s *search) told(pid int) (held map[connection]bool) {
	eachDescriptor(s.folder(pid, "fdinfo"), func(info string) bool {
		c, ok := connectionIn(info)
		s.tells = s.tells || ok
		if ok && s.wanted[c] {
			if held == nil {
				held = map[connection]bool{}
			}
			held[c] = true
		}
		return true
	})
	return held
}

// linked returns anyConnection when a descriptor of the process is one of /dev/fuse.
func (s *search) linked(pid int) (held map[connection]bool) {
	tasks, err := proc.Tasks(s.root, pid)
	if err != nil || slices.ContainsFunc(tasks, func(t proc.Task) bool { return t.Execs }) {
		return nil
	}
	eachDescriptor(s.folder(pid, "fd"), func(descriptor string) bool {
		if link, err := os.Readlink(descriptor); err == nil && isDevice(link) {
			held = map[connection]bool{anyConnection: true}
		}
		return held == nil
	})
	return held
}

func (s *search) folder(pid int, name string) string {
	return filepath.Join(s.root, strconv.Itoa(pid), name)
}

// eachDescriptor calls f for every file of a folder of descriptors, until that returns false.
func eachDescriptor(folder string, f func(path string) bool) {
	dir, err := os.Open(folder) //nolint:gosec // a folder of /proc
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }() // read only
	for read := 0; read < maxDescriptors; read += namesAtOnce {
		names, err := dir.Readdirnames(namesAtOnce)
		for _, name := range names {
			if !f(filepath.Join(folder, name)) {
				return
			}
		}
		if err != nil {
			return // io.EOF, or the process has ended
		}
	}
}

// isDevice reports whether a descriptor's link leads to /dev/fuse, as seen from another mount namespace perhaps.
func isDevice(link string) bool { return link == "/fuse" || strings.HasSuffix(link, "/dev/fuse") }

// maxInfo is more than the fdinfo of a character device holds.
const maxInfo = 4096

// connectionIn reads the line that fuse_dev_show_fdinfo of the kernel writes. It is not ok when there is none.
func connectionIn(info string) (c connection, ok bool) {
	f, err := os.Open(info) //nolint:gosec // a file of /proc
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }() // read only
	text, err := io.ReadAll(io.LimitReader(f, maxInfo))
	if err != nil {
		return 0, false
	}
	_, line, ok := strings.Cut(string(text), "\nfuse_connection:")
	if !ok {
		return 0, false
	}
	number, _, _ := strings.Cut(line, "\n")
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64)
	return connection(n), err == nil
}
