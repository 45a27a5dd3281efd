package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"tool": 0o700, "conf": 0o660} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadFiles(dir, []string{"tool:/bin/tool", "conf:/etc/conf", filepath.Join(dir, "tool") + ":/t:0644", "conf:/c:777"})
	want := []File{
		{Path: "/bin/tool", Data: []byte("tool"), Mode: 0o755},
		{Path: "/etc/conf", Data: []byte("conf"), Mode: 0o644},
		{Path: "/t", Data: []byte("tool"), Mode: 0o644},
		{Path: "/c", Data: []byte("conf"), Mode: 0o777},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestReadFilesRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tool"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]error{
		"tool":               ErrFile,
		"tool:":              ErrFile,
		":/tool":             ErrFile,
		"tool:relative":      ErrFile,
		"tool:/a:0755:extra": ErrFile,
		"tool:/a:rwx":        ErrFile,
		"tool:/a:1777":       ErrFile,
		"tool:/a:-1":         ErrFile,
		"missing:/a":         fs.ErrNotExist,
	} {
		if _, err := ReadFiles(dir, []string{arg}); !errors.Is(err, want) {
			t.Errorf("%q: got %v", arg, err)
		}
	}
	if _, err := ReadFiles("", []string{dir + ":/dir"}); err == nil {
		t.Error("a folder passes as a file")
	}
}
