package faultfs

import (
	"context"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// dir is a directory in memory that everyone may write to. Its children live in
// the embedded Inode; the file system's root is one.
type dir struct {
	fs.Inode
	mu   sync.Mutex
	attr fuse.Attr
}

var _ = interface {
	fs.InodeEmbedder
	fs.NodeStatfser
	fs.NodeGetattrer
	fs.NodeSetattrer
	fs.NodeCreater
	fs.NodeMkdirer
	fs.NodeRmdirer
	fs.NodeRenamer
}(&dir{})

// newRoot gives the root of a tree that holds the one file.
func newRoot(canary, content string) (root *dir, onAdd func(context.Context)) {
	root = newDir()
	return root, func(ctx context.Context) {
		file := root.NewPersistentInode(ctx, newFile(content), fs.StableAttr{Mode: syscall.S_IFREG})
		root.AddChild(canary, file, false)
	}
}

// Link counts matter: 0 would look like a directory that was deleted.
func newDir() *dir { return &dir{attr: fuse.Attr{Mode: 0o777, Nlink: 2}} }

func newFile(content string) *fs.MemRegularFile {
	return &fs.MemRegularFile{Data: []byte(content), Attr: fuse.Attr{Mode: 0o666, Nlink: 1}}
}

// Statfs reports a small file system that is never full: all zeros would look like
// a mount that hides itself from its caller.
func (d *dir) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const blocks, blockSize = 1 << 14, 4096
	*out = fuse.StatfsOut{
		Blocks: blocks, Bfree: blocks / 2, Bavail: blocks / 2,
		Files: blocks, Ffree: blocks / 2,
		Bsize: blockSize, Frsize: blockSize, NameLen: 255,
	}
	return 0
}

func (d *dir) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	out.Attr = d.attr
	return 0
}

// Setattr keeps mode and owner, which the kubelet sets for a pod's fsGroup.
func (d *dir) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if mode, ok := in.GetMode(); ok {
		d.attr.Mode = mode & 0o7777
	}
	if uid, ok := in.GetUID(); ok {
		d.attr.Uid = uid
	}
	if gid, ok := in.GetGID(); ok {
		d.attr.Gid = gid
	}
	out.Attr = d.attr
	return 0
}

func (d *dir) Create(ctx context.Context, _ string, _, _ uint32, _ *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return d.NewPersistentInode(ctx, newFile(""), fs.StableAttr{Mode: syscall.S_IFREG}), nil, fuse.FOPEN_DIRECT_IO, 0
}

func (d *dir) Mkdir(ctx context.Context, _ string, _ uint32, _ *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return d.NewPersistentInode(ctx, newDir(), fs.StableAttr{Mode: syscall.S_IFDIR}), 0
}

// Rmdir refuses a directory that is in use, which the kernel leaves to the server.
func (d *dir) Rmdir(_ context.Context, name string) syscall.Errno {
	if child := d.GetChild(name); child != nil && len(child.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	return 0
}

// Rename allows every move; go-fuse moves the node itself.
func (d *dir) Rename(context.Context, string, fs.InodeEmbedder, string, uint32) syscall.Errno {
	return 0
}
