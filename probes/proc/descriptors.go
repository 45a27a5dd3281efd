package proc

import (
	"errors"
	"io"
	"os"
	"slices"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

const (
	maxDescriptors = 4096 // of one process; the kernel lists the lowest first
	namesAtOnce    = 256
	maxLink        = 64 // of a link that is asked for, in bytes
)

// errExecs means that whoever reads the links of the process may keep waiting.
var errExecs = errors.New("process is within execve")

// Descriptors returns the numbers of those among the process's first 4,096 descriptors whose link
// is one of the texts.
//
// A link is made from names in memory (d_path of the kernel): to read it asks no file system,
// however dead. A link of a process within execve may keep waiting (see Tasks), so such a process
// is refused. It is within execve from the moment when its memory is new, and then has no thread
// but the first one (exec_mmap after de_thread of the kernel), so that the status of the first one
// is enough.
//
// The status is read once: with 65,536 groups, which root of a container may set, it has 384 kB.
//
// Two risks remain. A process may begin an execve between the read of its status and the last of
// the links that follow; that wait ends when the process is killed, or when this one
// is (down_read_killable). And while the kernel makes the text it holds the file and its mount
// (proc_fd_link, proc_pid_readlink): if the process releases both in that moment, it is this one
// that releases the file, and takes down a file system that was detached before.
func (p *Process) Descriptors(links ...string) ([]string, error) {
	dir, err := p.Open("fd")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // read only
	if err := p.checkLinks(); err != nil {
		return nil, err
	}
	var found []string
	for read := 0; read < maxDescriptors; read += namesAtOnce {
		names, err := dir.Readdirnames(namesAtOnce)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, asGone(err)
		}
		found = append(found, filterByLink(dir, names, links)...)
	}
	return found, nil
}

// checkLinks returns an error when a read of the process's links may wait.
func (p *Process) checkLinks() error {
	t, err := p.Status()
	if err == nil && t.Execs {
		err = errExecs
	}
	return err
}

// filterByLink returns those of the descriptors whose link is one of the texts.
func filterByLink(fds *os.File, names, links []string) (found []string) {
	dir := int(fds.Fd())
	var buf [maxLink]byte
	for _, name := range names {
		n, err := sys.ReadLinkAt(dir, name, buf[:])
		if err == nil && slices.Contains(links, string(buf[:n])) {
			found = append(found, name)
		}
	}
	return found
}

// IsPrivileged reports whether the process has CAP_SYS_ADMIN in the user namespace of this one,
// the node's. It may do to the node what it likes, so that it could gain nothing from this
// process.
//
// That matters where the kernel lets a process keep others waiting, or has them make room for as
// much text as it likes, as with fdinfo. The fdinfo of an epoll waits for the lock which
// epoll_wait(2) holds while it writes to its caller's memory, perhaps a page of a dead FUSE
// (ep_show_fdinfo). The fdinfo of any file lists its locks, perhaps a million, at the expense of
// the reader (seq_show of fs/proc/fd.c). What is known of a descriptor does not help there: it may
// stand for another file at the next moment.
func (p *Process) IsPrivileged(root string) bool {
	t, err := p.Status()
	if err != nil || t.Execs || t.caps&sys.CapSysAdmin == 0 {
		return false
	}
	theirs, err := p.readLink("ns/user")
	if err != nil {
		return false
	}
	self, err := Self(root)
	if err != nil {
		return false
	}
	defer self.Release()
	ours, err := self.readLink("ns/user")
	return err == nil && ours == theirs
}

// readLink returns the text of a link of the process's directory, cut at maxLink bytes.
func (p *Process) readLink(name string) (text string, err error) {
	var buf [maxLink]byte
	err = p.withDir(func(dir int) error {
		n, err := sys.ReadLinkAt(dir, name, buf[:])
		text = string(buf[:n])
		return err
	})
	return text, err
}
