package volume

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A Volume says what is mounted on one path, and why.
type Volume struct {
	// ID is the CSI volume id.
	ID string `json:"id"`
	// Path is the absolute path of the mount: a target, or a staging path.
	Path string `json:"path"`
	// Staging is the path that this one is a bind mount of; empty when a FUSE server
	// of its own serves it.
	Staging string `json:"staging,omitempty"`
	// ReadOnly makes the mount read-only.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Content is what the server, if there is one, serves.
	Content Content `json:"content"`
	// Pod is who the mount is for; empty for a staging path.
	Pod Pod `json:"pod"`
}

// Content are a volume's choices, which CSI volume attributes carry. Its zero value
// takes the defaults of faultfs. With a Program only URL and Flags count.
type Content struct {
	Canary    string        `json:"canary,omitempty"`
	Text      string        `json:"text,omitempty"`
	Source    string        `json:"source,omitempty"`
	OwnerOnly bool          `json:"ownerOnly,omitempty"`
	CacheFor  time.Duration `json:"cacheFor,omitempty"`
	// Backend and BackendGrace are those of faultfs.Options.
	Backend      string        `json:"backend,omitempty"`
	BackendGrace time.Duration `json:"backendGrace,omitempty"`
	// Program serves in place of faultfs, from the server at URL and with more Flags.
	Program string `json:"program,omitempty"`
	URL     string `json:"url,omitempty"`
	Flags   string `json:"flags,omitempty"`
}

// Pod names a pod.
type Pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// sameAs tells whether v asks for the mount that other is. The pod does not matter:
// who asks does not change what is mounted.
func (v Volume) sameAs(other Volume) bool {
	v.Pod = other.Pod
	return v == other
}

// Name is the volume's name in the kubelet's target paths,
// …/volumes/kubernetes.io~csi/NAME/mount: the name of an inline volume in its pod, or
// of the PersistentVolume.
func (v Volume) Name() string { return filepath.Base(filepath.Dir(v.Path)) }

// store keeps one folder a mounted path, with the record and the server's socket.
// Its methods touch no volume.
type store struct {
	dir string
}

const (
	recordFile  = "volume.json"
	controlFile = "control"
	cacheDir    = "cache" // what a program keeps on disk, which goes with the record
	// keyBytes keeps the socket's path short (unix(7) allows 107 bytes) and is yet far
	// from collisions.
	keyBytes = 8
)

func (s store) folder(path string) string {
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:keyBytes]))
}

func (s store) control(path string) string { return filepath.Join(s.folder(path), controlFile) }
func (s store) cache(path string) string   { return filepath.Join(s.folder(path), cacheDir) }

// load gives the record of what is mounted on path; ok is false when there is none.
func (s store) load(path string) (v Volume, ok bool, err error) {
	return readRecord(filepath.Join(s.folder(path), recordFile))
}

func readRecord(file string) (v Volume, ok bool, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return v, false, nil
	}
	if err != nil {
		return v, false, fmt.Errorf("read volume record: %w", err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return v, false, fmt.Errorf("read volume record %q: %w", file, err)
	}
	return v, true, nil
}

// save replaces the record as a whole, so that a crash leaves the old or the new.
func (s store) save(v Volume) error {
	folder := s.folder(v.Path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("save volume record: %w", err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode volume record: %w", err)
	}
	part := filepath.Join(folder, recordFile+".new")
	if err := os.WriteFile(part, text, 0o600); err != nil {
		return fmt.Errorf("save volume record: %w", err)
	}
	if err := os.Rename(part, filepath.Join(folder, recordFile)); err != nil {
		return fmt.Errorf("save volume record: %w", err)
	}
	return nil
}

func (s store) remove(path string) error {
	if err := os.RemoveAll(s.folder(path)); err != nil {
		return fmt.Errorf("remove volume record: %w", err)
	}
	return nil
}

// list gives all records, in no order that means anything.
func (s store) list() ([]Volume, error) {
	files, err := filepath.Glob(filepath.Join(s.dir, "*", recordFile))
	if err != nil {
		return nil, fmt.Errorf("list volume records: %w", err)
	}
	volumes := make([]Volume, 0, len(files))
	for _, file := range files {
		v, ok, err := readRecord(file)
		if err != nil {
			return nil, err
		}
		if ok { // else it was removed meanwhile
			volumes = append(volumes, v)
		}
	}
	return volumes, nil
}
