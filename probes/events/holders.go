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

// What stands for a descriptor of /dev/fuse whose connection is not known. No device has such a
// number.
const (
	anyConnection    = ^connection(0) - iota // the kernel does not tell it
	untoldConnection                         // it was not asked, since the process is not privileged
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
	maxHolders = 1024           // processes
	maxUntold  = maxHolders / 2 // of them that are not privileged: anybody can have so many
)

// findHolders returns the processes below the /proc at root that hold a descriptor of a wanted
// connection, or of /dev/fuse where the connection is not told. Processes that may not be read, or
// end meanwhile, are passed over. It ends early when quit is closed. The caller releases the
// processes.
//
// tells says that this kernel tells the connection of a descriptor, in its fdinfo. That is opened
// of none but /dev/fuse, and of none but privileged processes: others can keep its reader waiting
// (see proc.IsPrivileged).
//
// A link that reads /dev/fuse can be had by who may mount, or make files in the /dev of his
// container. The end of his processes then calls for looks at pods with a FUSE, at a bounded rate,
// and for nothing else.
func findHolders(root string, tells bool, wanted map[connection]bool, quit <-chan struct{}) ([]holder, error) {
	pids, err := proc.All(root)
	if err != nil {
		return nil, fmt.Errorf("find FUSE daemons: %w", err)
	}
	s := search{root: root, tells: tells, wanted: wanted}
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

// search is one scan of /proc.
type search struct {
	root   string
	tells  bool
	wanted map[connection]bool
	found  []holder
	untold int // of them
}

// addProcess enters a process if it is a holder.
func (s *search) addProcess(pid int) {
	p, err := proc.Peek(s.root, pid)
	if err != nil {
		return
	}
	held := s.findConnections(p)
	if held[untoldConnection] {
		s.untold++
	}
	if len(held) == 0 || held[untoldConnection] && s.untold > maxUntold {
		p.Release()
		return
	}
	s.found = append(s.found, holder{process: p, connections: held})
}

// findConnections returns which of the wanted connections the process holds.
func (s *search) findConnections(p *proc.Process) map[connection]bool {
	// As its own mount namespace has it; the second one is that of a /dev which was unmounted.
	descriptors, err := p.Descriptors("/dev/fuse", "/fuse")
	switch {
	case err != nil || len(descriptors) == 0:
		return nil
	case !s.tells:
		return map[connection]bool{anyConnection: true}
	case !p.IsPrivileged(s.root):
		return map[connection]bool{untoldConnection: true}
	}
	held := map[connection]bool{}
	for _, name := range descriptors {
		if c, ok := readConnection(p, name); ok && s.wanted[c] {
			held[c] = true
		}
	}
	return held
}

// maxInfo is more than the fdinfo of a character device holds.
const maxInfo = 4096

// readConnection reads the line that fuse_dev_show_fdinfo of the kernel writes. It is not ok when
// there is none: nothing is mounted with the descriptor.
func readConnection(p *proc.Process, descriptor string) (c connection, ok bool) {
	f, err := p.Open("fdinfo/" + descriptor)
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
