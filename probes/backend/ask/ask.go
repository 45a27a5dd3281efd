package ask

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Program is the file name of the program, and the name of its processes.
const Program = "mountwarden-backend"

// Timeout is how long to wait for a driver or a server.
const Timeout = 2 * time.Second

const (
	maxQuestion = 64 << 10 // the capacity of a pipe (pipe(7)), so that asking never blocks
	maxDetail   = 512      // bytes of text for people
	maxDriver   = 256      // bytes of a driver's name, which may have 63

	// MaxAnswer is the largest size of an answer in bytes.
	MaxAnswer = 8 << 10
)

// Question is what the program must find out: exactly one field is set.
type Question struct {
	Volume *Volume `json:"volume,omitempty"`
	CSI    *CSI    `json:"csi,omitempty"`
	NFS    *NFS    `json:"nfs,omitempty"`
}

// Root is the root directory of the host.
type Root struct {
	Proc string `json:"proc"` // where the host's /proc is seen
	PID  int    `json:"pid"`  // the process whose root directory it is
}

// Volume asks which driver a CSI volume has. It is a question of its own because there are few
// drivers and many volumes.
type Volume struct {
	Root   Root   `json:"root"`
	Folder string `json:"folder"` // on the host: where the kubelet keeps the volume
}

// CSI asks whether a driver is registered with this node's kubelet, and is ready.
type CSI struct {
	Root     Root     `json:"root"`
	Kubelets []string `json:"kubelets"` // root directories of the kubelet on the host
	Certain  bool     `json:"certain"`  // one of them is known to be the right one
	Driver   string   `json:"driver"`   // its name
}

// NFS asks whether a server answers.
type NFS struct {
	Server  string `json:"server"`            // a name or an address
	Port    int    `json:"port,omitempty"`    // 0: the default one, or what the server's portmapper says
	Version int    `json:"version,omitempty"` // of the protocol; 0: unknown
}

// Encode returns the question as JSON. Equal questions have equal text.
func (q Question) Encode() ([]byte, error) {
	text, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("write a question: %w", err)
	}
	if len(text) > maxQuestion {
		return nil, fmt.Errorf("write a question: it has %d bytes, at most %d are allowed", len(text), maxQuestion)
	}
	return text, nil
}

// ReadQuestion reads r to the end, and parses the question.
func ReadQuestion(r io.Reader) (q Question, err error) {
	if err := readJSON(r, maxQuestion, &q); err != nil {
		return q, fmt.Errorf("read a question: %w", err)
	}
	if set := countTrue(q.Volume != nil, q.CSI != nil, q.NFS != nil); set != 1 {
		return q, fmt.Errorf("read a question: it is of %d among volume, csi and nfs; it has to be of one", set)
	}
	return q, nil
}

func countTrue(all ...bool) (set int) {
	for _, is := range all {
		if is {
			set++
		}
	}
	return set
}
