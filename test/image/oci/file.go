package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrFile is wrapped by every error about a SOURCE:PATH[:MODE] argument that cannot be used.
var ErrFile = errors.New("not a usable file argument")

// File is one entry of an image. Missing parent folders are added with mode 0755.
type File struct {
	Path string      // absolute path inside the image
	Data []byte      // content of a regular file
	Link string      // target, for a symbolic link
	Mode fs.FileMode // permission bits, with fs.ModeDir for a folder and fs.ModeSticky where wanted
}

// ReadFiles reads arguments of the form SOURCE:PATH[:MODE]; a relative SOURCE is below dir.
// An error wraps ErrFile, or says which source could not be read.
func ReadFiles(dir string, args []string) ([]File, error) {
	files := make([]File, 0, len(args))
	for _, arg := range args {
		file, err := readFile(dir, arg)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func readFile(dir, arg string) (File, error) {
	part := strings.Split(arg, ":")
	if len(part) < 2 || len(part) > 3 || part[0] == "" || !path.IsAbs(part[1]) {
		return File{}, fmt.Errorf("%w: %q; write SOURCE:PATH or SOURCE:PATH:MODE with an absolute PATH", ErrFile, arg)
	}
	source := part[0]
	if !filepath.IsAbs(source) {
		source = filepath.Join(dir, source)
	}
	info, err := os.Stat(source)
	if err != nil {
		return File{}, fmt.Errorf("read %q: %w", arg, err)
	}
	mode := plainMode(info.Mode())
	if len(part) == 3 {
		if mode, err = parseMode(part[2]); err != nil {
			return File{}, fmt.Errorf("%w: %q: %w", ErrFile, arg, err)
		}
	}
	data, err := os.ReadFile(source)
	if err != nil {
		return File{}, fmt.Errorf("read %q: %w", arg, err)
	}
	return File{Path: part[1], Data: data, Mode: mode}, nil
}

// plainMode forgets the umask of the machine that built the file, which would change the digest.
func plainMode(m fs.FileMode) fs.FileMode {
	if m&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

func parseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("mode %q is not an octal number from 0 to 0777", s)
	}
	return fs.FileMode(n), nil
}
