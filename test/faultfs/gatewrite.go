package faultfs

import "github.com/hanwen/go-fuse/v2/fuse"

// The requests that change something, all of them a Write to the faults.

// Writev takes every write. What it cannot do itself go-fuse asks of Write, which
// therefore must not pass the faults a second time.
func (g *gate) Writev(c <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if s := g.pass(Write); s != fuse.OK {
		return 0, s
	}
	return g.RawFileSystem.Writev(c, in, data)
}

func (g *gate) Create(c <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if s := g.pass(Write); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Create(c, in, name, out)
}

func (g *gate) SetAttr(c <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if s := g.pass(Write); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.SetAttr(c, in, out)
}

func (g *gate) Mkdir(c <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if s := g.pass(Write); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Mkdir(c, in, name, out)
}

func (g *gate) Unlink(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if s := g.pass(Write); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Unlink(c, in, name)
}

func (g *gate) Rmdir(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if s := g.pass(Write); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Rmdir(c, in, name)
}

func (g *gate) Rename(c <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	if s := g.pass(Write); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Rename(c, in, from, to)
}

// Fsync has nothing to do, since all is in memory; go-fuse's answer for want of anything else is a failure.
func (g *gate) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return g.pass(Write) }

// FsyncDir is Fsync of a directory.
func (g *gate) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return g.pass(Write) }

func (g *gate) Fallocate(c <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if s := g.pass(Write); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Fallocate(c, in)
}
