package initrd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Modes of newc, which are those of stat(2).
const (
	folderMode = 0o40755
	fileMode   = 0o100644
	linkMode   = 0o120777
	deviceMode = 0o20600
)

// Archive writes entries, each path once and the folders above it first. Make it with New, and Close it.
type Archive struct {
	w       io.Writer
	written int64
	inode   int
	there   map[string]bool
	err     error // the first
}

// New starts an archive that goes to w.
func New(w io.Writer) *Archive { return &Archive{w: w, there: map[string]bool{".": true}} }

// entry is one of the archive.
type entry struct {
	name         string
	mode         uint32
	size         int64
	content      io.Reader
	major, minor int // of a device
}

// Folder adds a folder and those above it.
func (a *Archive) Folder(name string) {
	if name = clean(name); a.there[name] {
		return
	}
	a.Folder(path.Dir(name))
	a.add(entry{name: name, mode: folderMode})
}

// Text adds a file.
func (a *Archive) Text(name, text string) {
	a.put(entry{name: clean(name), mode: fileMode, size: int64(len(text)), content: strings.NewReader(text)})
}

// Link adds a symlink.
func (a *Archive) Link(name, to string) {
	a.put(entry{name: clean(name), mode: linkMode, size: int64(len(to)), content: strings.NewReader(to)})
}

// Console adds /dev/console, without which init has no output.
func (a *Archive) Console() { a.put(entry{name: "dev/console", mode: deviceMode, major: 5, minor: 1}) }

// File adds a copy of a file of this machine, with its permissions.
func (a *Archive) File(name, from string) {
	if a.err != nil || a.there[clean(name)] {
		return
	}
	f, err := os.Open(from)
	if err != nil {
		a.err = err
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		a.err = err
		return
	}
	a.put(entry{name: clean(name), mode: 0o100000 | uint32(info.Mode().Perm()), size: info.Size(), content: f})
}

// Tree adds the files and folders below a folder of this machine.
func (a *Archive) Tree(name, from string) {
	err := filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		relative, err := filepath.Rel(from, file)
		a.File(path.Join(name, filepath.ToSlash(relative)), file)
		return errors.Join(err, a.err)
	})
	if a.err == nil {
		a.err = err
	}
}

// put adds an entry and the folders above it, unless its name is taken.
func (a *Archive) put(e entry) {
	if a.there[e.name] {
		return
	}
	a.Folder(path.Dir(e.name))
	a.add(e)
}

func (a *Archive) add(e entry) {
	a.there[e.name] = true
	a.inode++
	a.printf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, e.mode, 0, 0, 1, 0, e.size, 0, 0, e.major, e.minor, len(e.name)+1, 0, e.name)
	a.pad()
	if e.content == nil || a.err != nil {
		return
	}
	n, err := io.Copy(a.w, e.content)
	a.written += n
	if err == nil && n != e.size {
		err = fmt.Errorf("%s has changed while it was read", e.name)
	}
	a.err = err
	a.pad()
}

func (a *Archive) printf(format string, args ...any) {
	if a.err != nil {
		return
	}
	n, err := fmt.Fprintf(a.w, format, args...)
	a.written += int64(n)
	a.err = err
}

// pad fills up to a multiple of four bytes.
func (a *Archive) pad() { a.printf("%s", "\x00\x00\x00"[:(4-a.written%4)%4]) }

// Close writes the end. It returns the first error of all that was added.
func (a *Archive) Close() error {
	a.add(entry{name: "TRAILER!!!"})
	if a.err != nil {
		return fmt.Errorf("make an initramfs: %w", a.err)
	}
	return nil
}

// clean is a path without a slash in front, "." of the root.
func clean(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}
