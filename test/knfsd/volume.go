package knfsd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Canary is a file in the folder of each volume.
const Canary = "canary"

// folder is the part of a volume that clients mount: it can be made anew while the file system stays.
const folder = "data"

// Volume is a file system that is exported.
type Volume struct {
	server *Server
	id     int
}

// Volume makes one that is healthy.
func (s *Server) Volume() (*Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.volumes++
	v := &Volume{server: s, id: s.volumes}
	if err := os.Mkdir(v.path(), 0o755); err != nil {
		return nil, err
	}
	if err := syscall.Mount("volume", v.path(), "tmpfs", 0, "size=8m"); err != nil {
		return nil, fmt.Errorf("mount a volume: %w", err)
	}
	return v, errors.Join(v.Export(), v.furnish())
}

func (s *Server) path(id int) string { return filepath.Join(s.dir, strconv.Itoa(id)) }

func (v *Volume) path() string { return v.server.path(v.id) }

func (v *Volume) furnish() error {
	dir := filepath.Join(v.path(), folder)
	return errors.Join(os.Mkdir(dir, 0o777), os.WriteFile(filepath.Join(dir, Canary), []byte("tweet\n"), 0o644))
}

// Export lets clients have the volume, to read and to write.
func (v *Volume) Export() error { return v.server.export(v.id, v.path(), exported) }

// ReadOnly lets clients have the volume to read only.
func (v *Volume) ReadOnly() error { return v.server.export(v.id, v.path(), exported|onlyToRead) }

// Unexport takes the volume out of export.
func (v *Volume) Unexport() error { return v.server.export(v.id, v.path(), 0) }

// Remake removes the folder that clients have mounted and makes it anew: their handles are stale then.
func (v *Volume) Remake() error {
	return errors.Join(os.RemoveAll(filepath.Join(v.path(), folder)), v.furnish())
}

// Mount mounts the volume at a path, through a gate, as NFS 3 or 4.2 and with further options, such as "hard".
func (v *Volume) Mount(g *Gate, at, version, options string) error {
	source, fstype, own := fmt.Sprintf("%s:/%d/%s", g.address, v.id, folder), "nfs4", "vers=4.2,clientaddr=127.0.0.1"
	if version == "3" {
		source, fstype = fmt.Sprintf("%s:%s/%s", g.address, v.path(), folder), "nfs"
		own = fmt.Sprintf("vers=3,port=%d,mountaddr=127.0.0.1,mountport=%d,mountproto=tcp,mountvers=3,nolock", gatePort, mountdPort)
	}
	if err := syscall.Mount(source, at, fstype, 0, fmt.Sprintf("%s,addr=%s,proto=tcp,%s", own, g.address, options)); err != nil {
		return fmt.Errorf("mount %s as NFS %s,%s: %w", source, version, options, err)
	}
	return nil
}
