package oci

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// Write builds image and puts its OCI image-layout tarball at output, whole or not at all. It
// returns the digest of the image, or of the list of images when there are several platforms.
func Write(output string, image Image) (v1.Hash, error) {
	index, err := image.index()
	if err != nil {
		return v1.Hash{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("describe %s: %w", image.Ref, err)
	}
	if err := writeTarball(output, index); err != nil {
		return v1.Hash{}, fmt.Errorf("write %s to %s: %w", image.Ref, output, err)
	}
	return manifest.Manifests[0].Digest, nil
}

func writeTarball(output string, index v1.ImageIndex) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(output), ".image-")
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, os.RemoveAll(dir)) }()
	tree := filepath.Join(dir, "layout")
	if _, err := layout.Write(tree, index); err != nil {
		return err
	}
	half := filepath.Join(dir, "tarball")
	if err := packTree(half, tree); err != nil {
		return err
	}
	return os.Rename(half, output)
}

// packTree writes the files below tree to a tarball, in the order of their names and with no trace
// of when or by whom they were made.
func packTree(output, tree string) (err error) {
	out, err := os.Create(output)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, out.Close()) }()
	w := tar.NewWriter(out)
	err = filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == tree {
			return err
		}
		return packFile(w, tree, path, entry.IsDir())
	})
	return firstError(err, w.Close())
}

func packFile(w *tar.Writer, tree, path string, dir bool) error {
	name, err := filepath.Rel(tree, path)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: filepath.ToSlash(name), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if dir {
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, h.Name+"/", 0o755
		return w.WriteHeader(h)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h.Typeflag, h.Mode, h.Size = tar.TypeReg, 0o644, info.Size()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
