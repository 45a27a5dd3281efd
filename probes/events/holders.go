package events

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// connection is the number of a FUSE connection: the kernel's device number of its super block.
type connection uint64

// Connections that stand for a descriptor of /dev/fuse whose connection is not known. No device
// has such a number.
const (
	anyConnection    = ^connection(0) - iota // this kernel does not show it
	unreadConnection                         // not read, because the process is not privileged
)

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
	maxHolders       = 1024           // processes
	maxUnreadHolders = maxHolders / 2 // of them not privileged: any tenant can start this many
)

// findHolders returns the processes below the /proc at root that hold a descriptor of a wanted
// connection, or any descriptor of /dev/fuse where the connection is not known. Processes that may
// not be read, or end meanwhile, are skipped. It returns early when quit is closed. The caller must
// release the processes.
//
// With fdinfoTellsConnection the connection of a descriptor is read from its fdinfo. Only
// descriptors of /dev/fuse are read, and only of privileged processes: any other process can block
// the reader (see proc.Process.IsPrivileged).
//
// A tenant who may mount, or make files in the /dev of a container, can have a link that reads
// /dev/fuse. The end of that process then causes probes of pods with a FUSE mount, at a bounded
// rate, and nothing else.
func findHolders(root string, fdinfoTellsConnection bool, wanted map[connection]bool, quit <-chan struct{}) ([]holder, error) {
	pids, err := proc.All(root)
	if err != nil {
		return nil, fmt.Errorf("find FUSE daemons: %w", err)
	}
	s := holderScan{root: root, fdinfoTellsConnection: fdinfoTellsConnection, wanted: wanted}
	for _, pid := range pids {
		select {
		case <-quit:
			return s.found, nil
		default:
		}
		if len(s.found) >= maxHolders {
			break
		}
		s.addProcess(pid)
	}
	return s.found, nil
}

// holderScan is one scan of /proc.
type holderScan struct {
	root                  string
	fdinfoTellsConnection bool
	wanted                map[connection]bool
	found                 []holder
	unread                int // of found, with unreadConnection
}

// addProcess adds the process if it is a holder.
func (s *holderScan) addProcess(pid int) {
	p, err := proc.Peek(s.root, pid)
	if err != nil {
		return
	}
	held := s.findConnections(p)
	if held[unreadConnection] {
		s.unread++
	}
	if len(held) == 0 || held[unreadConnection] && s.unread > maxUnreadHolders {
		p.Release()
		return
	}
	s.found = append(s.found, holder{process: p, connections: held})
}

// findConnections returns which of the wanted connections the process holds.
func (s *holderScan) findConnections(p *proc.Process) map[connection]bool {
	// The path as the process's mount namespace has it. The second is that of a detached /dev.
	descriptors, err := p.Descriptors("/dev/fuse", "/fuse")
	switch {
	case err != nil || len(descriptors) == 0:
		return nil
	case !s.fdinfoTellsConnection:
		return map[connection]bool{anyConnection: true}
	case !p.IsPrivileged(s.root):
		return map[connection]bool{unreadConnection: true}
	}
	held := map[connection]bool{}
	for _, name := range descriptors {
		if c, ok := readConnection(p, name); ok && s.wanted[c] {
			held[c] = true
		}
	}
	return held
}

// maxFdinfo is larger than the fdinfo of any character device.
const maxFdinfo = 4096

// readConnection reads the line that fuse_dev_show_fdinfo (fs/fuse/dev.c) writes. ok is false when
// there is no such line: nothing is mounted with the descriptor.
func readConnection(p *proc.Process, descriptor string) (c connection, ok bool) {
	f, err := p.Open("fdinfo/" + descriptor)
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }() // read only
	text, err := io.ReadAll(io.LimitReader(f, maxFdinfo))
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
