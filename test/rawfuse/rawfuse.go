package rawfuse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Init is the first request, with which the kernel introduces itself.
const Init = 26

// Requests of fuse_kernel.h that a look sends.
const (
	Getattr = 3
	Statfs  = 17
	Statx   = 52

	lookup      = 1
	forget      = 2
	interrupt   = 36
	batchForget = 42
)

// Reaction is what a server says to a request: nothing at all when silent.
type Reaction func(opcode uint32) (body []byte, errno syscall.Errno, silent bool)

// Server serves one mount.
type Server struct {
	dir   string
	dev   *os.File      // of /dev/fuse
	asked atomic.Int64  // requests read, but for the first
	begun chan struct{} // closed when the first request was heard, or the server has ended before that
	ended chan struct{}
}

// Mount mounts at dir, for all users, and serves it until Die. FSType is "fuse.raw".
func Mount(dir string, say Reaction) (*Server, error) {
	return MountUnknown(dir, say.To(Init, hello(), 0))
}

// MountUnknown is Mount of a server that the kernel does not get to know, unless it answers Init, too.
func MountUnknown(dir string, say Reaction) (*Server, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount("raw", dir, "fuse.raw", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return nil, errors.Join(fmt.Errorf("mount at %s: %w", dir, err), unix.Close(fd))
	}
	// Only since it is mounted can the descriptor be polled.
	s := &Server{dir: dir, dev: os.NewFile(uintptr(fd), "/dev/fuse"), begun: make(chan struct{}), ended: make(chan struct{})}
	go s.serve(say)
	<-s.begun
	return s, nil
}

// Dir returns where it is mounted.
func (s *Server) Dir() string { return s.dir }

// Asked returns how many requests were read, but for the first, with which the kernel introduces itself.
func (s *Server) Asked() int { return int(s.asked.Load()) }

// Die ends the server: whoever waits for it, or comes later, gets ENOTCONN. The mount stays. It may be called again.
func (s *Server) Die() {
	s.dev.Close()
	<-s.ended
}

// Unmount ends the server and takes the mount away.
func (s *Server) Unmount() error {
	s.Die()
	return unix.Unmount(s.dir, unix.MNT_DETACH)
}

func (s *Server) serve(say Reaction) {
	defer close(s.ended)
	begin := sync.OnceFunc(func() { close(s.begun) })
	defer begin()
	buf := make([]byte, 16<<10) // the kernel wants room for 8 KiB
	for {
		n, err := s.dev.Read(buf)
		if err != nil {
			return
		}
		opcode, unique := binary.LittleEndian.Uint32(buf[4:n]), binary.LittleEndian.Uint64(buf[8:n])
		if opcode != Init {
			s.asked.Add(1)
		}
		if body, errno, silent := say(opcode); !silent && !answerless(opcode) {
			_, _ = s.dev.Write(reply(unique, errno, body)) // the kernel may refuse a lie
		}
		begin()
	}
}

// answerless requests are those whose answer the kernel does not wait for.
func answerless(opcode uint32) bool {
	return opcode == forget || opcode == batchForget || opcode == interrupt
}

// reply is a struct fuse_out_header and what follows.
func reply(unique uint64, errno syscall.Errno, body []byte) []byte {
	if errno != 0 {
		body = nil
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(16+len(body)))
	b = binary.LittleEndian.AppendUint32(b, -uint32(errno))
	b = binary.LittleEndian.AppendUint64(b, unique)
	return append(b, body...)
}

// hello is a struct fuse_init_out.
func hello() []byte {
	b := make([]byte, 64)
	binary.LittleEndian.PutUint32(b, 7)         // major
	binary.LittleEndian.PutUint32(b[4:], 31)    // minor
	binary.LittleEndian.PutUint16(b[16:], 1000) // max_background
	binary.LittleEndian.PutUint16(b[18:], 1000) // congestion_threshold
	binary.LittleEndian.PutUint32(b[20:], 4096) // max_write
	return b
}
