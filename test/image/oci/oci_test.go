package oci

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

func sample() Image {
	return Image{
		Ref: "test.local/sample:1",
		Platforms: []Platform{{Name: "linux/amd64", Files: []File{
			{Path: "/usr/bin/tool", Data: []byte("tool"), Mode: 0o755},
			{Path: "/bin/link", Link: "/usr/bin/tool"},
			{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
			{Path: "/etc/conf", Data: []byte("conf"), Mode: 0o600},
		}}},
		Entrypoint: []string{"/usr/bin/tool", "serve"},
		Cmd:        []string{"--help"},
		Env:        []string{"A=1"},
		User:       "65532:65532",
		Labels:     map[string]string{"org.example": "x"},
	}
}

func write(t *testing.T, image Image) (path string, digest v1.Hash) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image.tar")
	digest, err := Write(path, image)
	if err != nil {
		t.Fatal(err)
	}
	return path, digest
}

// unpack checks every entry of a tarball, extracts it and reads it as an image layout.
func unpack(t *testing.T, path string) v1.ImageIndex {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	var names []string
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s tells when or by whom it was made: %+v", h.Name, h)
		}
		extract(t, filepath.Join(dir, h.Name), h, r)
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %v", names)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func extract(t *testing.T, path string, h *tar.Header, r io.Reader) {
	t.Helper()
	if h.Typeflag == tar.TypeDir {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(data); strings.Contains(h.Name, "sha256/") && filepath.Base(h.Name) != hex.EncodeToString(sum[:]) {
		t.Errorf("%s is not named after its content", h.Name)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// only returns the one entry of an index.
func only(t *testing.T, index v1.ImageIndex) v1.Descriptor {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("index: %+v, %v", manifest, err)
	}
	return manifest.Manifests[0]
}

func TestTwoBuildsAreTheSame(t *testing.T) {
	first, digest := write(t, sample())
	shuffled := sample()
	slices.Reverse(shuffled.Platforms[0].Files)
	second, again := write(t, shuffled)
	if digest != again {
		t.Errorf("digests %s and %s", digest, again)
	}
	a, errA := os.ReadFile(first)
	b, errB := os.ReadFile(second)
	if err := errors.Join(errA, errB); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the tarballs differ: %v", err)
	}
	changed := sample()
	changed.Platforms[0].Files[0].Data = []byte("tooL")
	if _, other := write(t, changed); other == digest {
		t.Error("other content has the same digest")
	}
}

func TestConfigIsReadBack(t *testing.T) {
	path, digest := write(t, sample())
	index := unpack(t, path)
	d := only(t, index)
	if d.Digest != digest || d.Platform.String() != "linux/amd64" {
		t.Errorf("entry %+v, want digest %s", d, digest)
	}
	for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		if d.Annotations[key] != "test.local/sample:1" {
			t.Errorf("annotations: %v", d.Annotations)
		}
	}
	image, err := index.Image(digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Entrypoint: []string{"/usr/bin/tool", "serve"}, Cmd: []string{"--help"}, Env: []string{"A=1"},
		User: "65532:65532", Labels: map[string]string{"org.example": "x"}, WorkingDir: "/",
	}
	if !reflect.DeepEqual(config.Config, want) || config.OS != "linux" || config.Architecture != "amd64" {
		t.Errorf("config: %+v", config)
	}
	if !config.Created.IsZero() {
		t.Errorf("created %v", config.Created)
	}
}

func TestLayerIsReadBack(t *testing.T) {
	path, digest := write(t, sample())
	image, err := unpack(t, path).Image(digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("layers: %v %v", layers, err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	type entry struct {
		Name, Data, Link string
		Mode             int64
	}
	var got []entry
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entry{h.Name, string(data), h.Linkname, h.Mode})
	}
	want := []entry{
		{"bin/", "", "", 0o755}, {"bin/link", "", "/usr/bin/tool", 0o777},
		{"etc/", "", "", 0o755}, {"etc/conf", "conf", "", 0o600},
		{"tmp/", "", "", 0o1777},
		{"usr/", "", "", 0o755}, {"usr/bin/", "", "", 0o755}, {"usr/bin/tool", "tool", "", 0o755},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestSeveralPlatforms(t *testing.T) {
	image := sample()
	image.Platforms = append(image.Platforms, Platform{Name: "linux/arm64", Files: []File{{Path: "/x", Data: []byte("arm"), Mode: 0o755}}})
	path, digest := write(t, image)
	index := unpack(t, path)
	d := only(t, index)
	if d.Digest != digest || !d.MediaType.IsIndex() || d.Annotations["io.containerd.image.name"] != "test.local/sample:1" {
		t.Errorf("entry %+v", d)
	}
	list, err := index.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := list.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
	}
	if !slices.Equal(platforms, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("platforms %v", platforms)
	}
}

func TestFullName(t *testing.T) {
	for ref, want := range map[string]string{
		"mountwarden:dev":               "docker.io/library/mountwarden:dev",
		"group/app:1":                   "docker.io/group/app:1",
		"docker.io/library/app:1":       "docker.io/library/app:1",
		"test.local/busybox:1":          "test.local/busybox:1",
		"localhost:5000/a/b:v1.2":       "localhost:5000/a/b:v1.2",
		"mountwarden":                   "",
		"localhost:5000/a":              "",
		"":                              "",
		"Upper:1":                       "",
		"a@sha256:" + hex64("0"):        "",
		"test.local/a:not a tag at all": "",
	} {
		got, err := FullName(ref)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrImage) {
			t.Errorf("%q: got %q, %v", ref, got, err)
		}
	}
}

func hex64(s string) string { return strings.Repeat(s, 64) }

func TestUnusableImages(t *testing.T) {
	for name, change := range map[string]func(*Image){
		"no platform":       func(i *Image) { i.Platforms = nil },
		"platform of words": func(i *Image) { i.Platforms[0].Name = "linux" },
		"empty platform":    func(i *Image) { i.Platforms[0].Name = "" },
		"no tag":            func(i *Image) { i.Ref = "x" },
		"a file twice": func(i *Image) {
			i.Platforms[0].Files = append(i.Platforms[0].Files, File{Path: "/etc/../etc/conf"})
		},
	} {
		image := sample()
		change(&image)
		output := filepath.Join(t.TempDir(), "image.tar")
		_, err := Write(output, image)
		if !errors.Is(err, ErrImage) && !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(output); err == nil {
			t.Errorf("%s: there is a tarball", name)
		}
	}
}

func TestWriteLeavesNothingBeside(t *testing.T) {
	path, _ := write(t, sample())
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the tarball: %v %v", entries, err)
	}
	if _, err := Write("/no/such/folder/x.tar", sample()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
