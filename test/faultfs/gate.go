package faultfs

import "github.com/hanwen/go-fuse/v2/fuse"

// gate is a file system whose every request passes the faults first. It sits on
// the wire level, below the node tree, so that no node can forget to ask. Only
// what the kernel awaits no answer to (forget, release) goes by.
type gate struct {
	fuse.RawFileSystem
	faults *Faults
	direct bool // reads bypass the page cache and so always reach the server
}

func (g *gate) pass(op Op) fuse.Status { return fuse.Status(g.faults.Pass(op)) }

func (g *gate) StatFs(c <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if s := g.pass(Statfs); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.StatFs(c, in, out)
}

func (g *gate) GetAttr(c <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if s := g.pass(Getattr); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.GetAttr(c, in, out)
}

func (g *gate) Statx(c <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	if s := g.pass(Getattr); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Statx(c, in, out)
}

func (g *gate) Access(c <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	if s := g.pass(Getattr); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Access(c, in)
}

func (g *gate) GetXAttr(c <-chan struct{}, in *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	if s := g.pass(Getattr); s != fuse.OK {
		return 0, s
	}
	return g.RawFileSystem.GetXAttr(c, in, attr, dest)
}

func (g *gate) ListXAttr(c <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	if s := g.pass(Getattr); s != fuse.OK {
		return 0, s
	}
	return g.RawFileSystem.ListXAttr(c, in, dest)
}

func (g *gate) Lookup(c <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if s := g.pass(Lookup); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Lookup(c, in, name, out)
}

func (g *gate) Open(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if s := g.pass(Open); s != fuse.OK {
		return s
	}
	status := g.RawFileSystem.Open(c, in, out)
	if g.direct {
		out.OpenFlags = out.OpenFlags&^fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_DIRECT_IO
	}
	return status
}

func (g *gate) OpenDir(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if s := g.pass(Open); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.OpenDir(c, in, out)
}

func (g *gate) Read(c <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if s := g.pass(Read); s != fuse.OK {
		return nil, s
	}
	return g.RawFileSystem.Read(c, in, buf)
}

func (g *gate) ReadDir(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if s := g.pass(Readdir); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.ReadDir(c, in, out)
}

func (g *gate) ReadDirPlus(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if s := g.pass(Readdir); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.ReadDirPlus(c, in, out)
}

func (g *gate) Flush(c <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if s := g.pass(Other); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Flush(c, in)
}

func (g *gate) Lseek(c <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if s := g.pass(Other); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Lseek(c, in, out)
}

func (g *gate) Ioctl(c <-chan struct{}, in *fuse.IoctlIn, inbuf []byte, out *fuse.IoctlOut, outbuf []byte) fuse.Status {
	if s := g.pass(Other); s != fuse.OK {
		return s
	}
	return g.RawFileSystem.Ioctl(c, in, inbuf, out, outbuf)
}
