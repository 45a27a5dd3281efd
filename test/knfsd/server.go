package knfsd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	control = "/proc/fs/nfsd"
	caches  = "/proc/net/rpc"
	domain  = "tests"
	port    = 20490 // of the kernel's server; clients come through gates
	forever = 2147483647
)

// Flags of an export (include/uapi/linux/nfsd/export.h): insecure ports, async, no subtree check, fsid.
const (
	exported   = 0x2 | 0x10 | 0x400 | 0x2000
	onlyToRead = 0x1
)

// Server is the kernel's, with one tmpfs for each volume.
type Server struct {
	dir     string
	rpcbind *responder

	mu      sync.Mutex
	mountd  *responder // nil when it is dead
	volumes int
}

// Supported reports whether the kernel can serve NFS.
func Supported() bool {
	_, err := os.Stat(caches + "/nfsd.export")
	return err == nil
}

// Start serves volumes below dir, which must exist. Close it.
func Start(dir string) (_ *Server, err error) {
	s := &Server{dir: dir}
	if err := os.MkdirAll(filepath.Dir(rpcbindSocket), 0o755); err != nil {
		return nil, err
	}
	if s.rpcbind, err = respond("unix", rpcbindSocket, alwaysTrue); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := syscall.Mount("exports", dir, "tmpfs", 0, "size=1m"); err != nil {
		return nil, fmt.Errorf("mount the root of the exports: %w", err)
	}
	if err := s.StartMountd(); err != nil {
		return nil, err
	}
	if err := s.serve(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) serve() error {
	if err := syscall.Mount("nfsd", control, "nfsd", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", control, err)
	}
	err := errors.Join(
		write(control+"/nfsv4leasetime", "10"), write(control+"/nfsv4gracetime", "10"),
		write(control+"/portlist", fmt.Sprintf("tcp %d\n", port)), write(control+"/threads", "8\n"),
		write(caches+"/auth.unix.ip/channel", fmt.Sprintf("nfsd 127.0.0.1 %d %s\n", forever, domain)),
		s.export(0, s.dir, exported),
	)
	if err != nil {
		return err
	}
	// Newer kernels have no grace period where no client is known that could claim something back.
	if err := write(control+"/v4_end_grace", "Y\n"); !errors.Is(err, syscall.EBUSY) {
		return err
	}
	return nil
}

// export tells the kernel of the file system with an id, mounted at path. flags 0 takes it out of export.
func (s *Server) export(id int, path string, flags int) error {
	key := fmt.Sprintf(`%s 1 \x%x %d`, domain, binary.NativeEndian.AppendUint32(nil, uint32(id)), forever)
	if flags == 0 {
		return errors.Join(
			write(caches+"/nfsd.export/channel", fmt.Sprintf("%s %s %d\n", domain, path, forever)), write(caches+"/nfsd.fh/channel", key+"\n"))
	}
	return errors.Join(write(caches+"/nfsd.fh/channel", fmt.Sprintf("%s %s\n", key, path)),
		write(caches+"/nfsd.export/channel", fmt.Sprintf("%s %s %d %d 65534 65534 %d\n", domain, path, forever, flags, id)))
}

// Close ends the server and what it has mounted. Nobody may have anything of it mounted.
func (s *Server) Close() error {
	s.StopMountd()
	var errs []error
	if _, err := os.Stat(control + "/threads"); err == nil {
		errs = append(errs, write(control+"/threads", "0\n"), s.forget(), syscall.Unmount(control, syscall.MNT_DETACH))
	}
	for id := s.volumes; id > 0; id-- {
		errs = append(errs, syscall.Unmount(s.path(id), syscall.MNT_DETACH))
	}
	if err := syscall.Unmount(s.dir, syscall.MNT_DETACH); !errors.Is(err, syscall.EINVAL) { // it was never mounted
		errs = append(errs, err)
	}
	s.rpcbind.close()
	return errors.Join(errs...)
}

// forget empties the caches, which hold the exported file systems.
func (s *Server) forget() error {
	var errs []error
	for _, name := range []string{"nfsd.export", "nfsd.fh", "auth.unix.ip"} {
		errs = append(errs, write(filepath.Join(caches, name, "flush"), fmt.Sprintf("%d\n", time.Now().Unix()+1)))
	}
	return errors.Join(errs...)
}

// write writes in one call, as these files want it.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %q: %w", text, err)
	}
	return nil
}
