package rawfuse

import (
	"encoding/binary"
	"syscall"
)

// Folder is the mode of a folder that all may read.
const Folder = syscall.S_IFDIR | 0o755

// Honest answers as a good, empty file system does.
func Honest(opcode uint32) ([]byte, syscall.Errno, bool) {
	switch opcode {
	case Statfs:
		return StatfsBody(1000, 500, 500), 0, false
	case Getattr:
		return AttrBody(Folder, 2), 0, false
	case lookup:
		return nil, syscall.ENOENT, false
	default:
		return nil, syscall.ENOSYS, false
	}
}

// Silent reads every request and answers none, so that whoever is killed while it waits stays.
func Silent(uint32) ([]byte, syscall.Errno, bool) { return nil, 0, true }

// To lets r answer one request otherwise.
func (r Reaction) To(opcode uint32, body []byte, errno syscall.Errno) Reaction {
	return func(asked uint32) ([]byte, syscall.Errno, bool) {
		if asked == opcode {
			return body, errno, false
		}
		return r(asked)
	}
}

// StatfsBody is a struct fuse_statfs_out; the figures are blocks.
func StatfsBody(all, free, available uint64) []byte {
	b := make([]byte, 80)
	binary.LittleEndian.PutUint64(b, all)
	binary.LittleEndian.PutUint64(b[8:], free)
	binary.LittleEndian.PutUint64(b[16:], available)
	binary.LittleEndian.PutUint32(b[40:], 4096) // bsize
	return b
}

// AttrBody is a struct fuse_attr_out of the root folder.
func AttrBody(mode, links uint32) []byte {
	b := make([]byte, 104)
	binary.LittleEndian.PutUint64(b[16:], 1) // ino
	binary.LittleEndian.PutUint32(b[76:], mode)
	binary.LittleEndian.PutUint32(b[80:], links)
	return b
}
