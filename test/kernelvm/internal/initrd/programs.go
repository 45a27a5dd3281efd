package initrd

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// ErrProgram is wrapped when a program or one of its libraries is not in the folder it should be in.
var ErrProgram = errors.New("no such program or library")

// Programs adds dynamic programs of an unpacked distribution to /bin, with their libraries and their loader, and the one that the C library
// opens by its name when a thread ends.
func (a *Archive) Programs(root string, names ...string) error {
	if file, err := find(root, "libgcc_s.so.1", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"); err == nil {
		a.File("lib/x86_64-linux-gnu/libgcc_s.so.1", file)
	}
	for _, name := range names {
		file, err := find(root, name, "usr/sbin", "sbin", "usr/bin", "bin")
		if err != nil {
			return err
		}
		a.File("bin/"+name, file)
		if err := a.libraries(root, file); err != nil {
			return err
		}
	}
	return a.err
}

// libraries adds what a program or library needs, and what that needs.
func (a *Archive) libraries(root, file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer f.Close()
	needed, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, name := range needed {
		place := "lib/x86_64-linux-gnu/" + name
		if strings.HasPrefix(name, "ld-linux") {
			place = "lib64/" + name
		}
		if a.there[place] {
			continue
		}
		library, err := find(root, name, "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
		if err != nil {
			return err
		}
		a.File(place, library)
		if err := a.libraries(root, library); err != nil {
			return err
		}
	}
	return nil
}

// find returns the file with a name in the first of the folders that has it, past symlinks that stay in root.
func find(root, name string, folders ...string) (string, error) {
	for _, folder := range folders {
		file := path.Join(folder, name)
		for range 8 {
			to, err := os.Readlink(filepath.Join(root, file))
			if err != nil {
				break
			}
			if !path.IsAbs(to) {
				to = path.Join("/", path.Dir(file), to)
			}
			file = strings.TrimPrefix(to, "/")
		}
		if info, err := os.Stat(filepath.Join(root, file)); err == nil && info.Mode().IsRegular() {
			return filepath.Join(root, file), nil
		}
	}
	return "", fmt.Errorf("%w: %s in %s; remove that folder to have it fetched anew", ErrProgram, name, root)
}
