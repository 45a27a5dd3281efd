package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// repo is a clone as the figures need it.
type repo struct {
	fset   *token.FileSet
	files  []file
	readme int    // lines; 0 when there is none
	goMod  []byte // of the main module
}

// file is one Go file.
type file struct {
	path      string // from the root, with slashes
	source    []byte
	syntax    *ast.File
	test      bool // a _test.go file, or anything of the test module
	generated bool
}

func (f file) lines() int { return lines(f.source) }

func lines(text []byte) int { return bytes.Count(text, []byte("\n")) }

// load reads every Go file below root, apart from folders that the go command does not read either.
func load(root string) (repo, error) {
	r := repo{fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && skipped(entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		return r.add(root, path)
	})
	if err != nil {
		return repo{}, fmt.Errorf("read the clone: %w", err)
	}
	if r.goMod, err = os.ReadFile(filepath.Join(root, "go.mod")); err != nil {
		return repo{}, fmt.Errorf("read the clone: %w", err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return repo{}, fmt.Errorf("read the clone: %w", err)
	}
	r.readme = lines(readme)
	return r, nil
}

func skipped(dir string) bool {
	return strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_") || dir == "testdata" || dir == "vendor"
}

func (r *repo) add(root, path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(r.fset, path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	relative, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	relative = filepath.ToSlash(relative)
	r.files = append(r.files, file{
		path:      relative,
		source:    source,
		syntax:    syntax,
		test:      strings.HasSuffix(relative, "_test.go") || strings.HasPrefix(relative, "test/"),
		generated: ast.IsGenerated(syntax),
	})
	return nil
}

// production lists the files that are shipped and written by hand.
func (r repo) production() []file {
	var chosen []file
	for _, f := range r.files {
		if !f.test && !f.generated {
			chosen = append(chosen, f)
		}
	}
	return chosen
}
