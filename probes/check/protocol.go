package check

import (
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
)

// version is the first byte of every message, so that an agent and a worker of two builds refuse
// each other instead of misunderstanding.
const version = 3

// MaxPath is the longest path in bytes that a Request can carry, the kernel's PATH_MAX.
const MaxPath = 4096

// MaxBatch is the longest encoded batch in bytes: a third of what a socket takes at once by
// default.
const MaxBatch = 64 << 10

var errProtocol = errors.New("malformed message: agent and worker are not of the same build")

// MaxTargets is how many targets the probes of one batch use at most.
const MaxTargets = 32

// Request asks for one probe.
type Request struct {
	Target uint8 // through which of the targets that travel with the batch, counted from 0

	// MountID is the mount that Path is expected on. Another one is not touched: the agent
	// holds no lock of its file system. 0 asks only which mount Path is on.
	MountID uint64
	Path    string // absolute, as the target sees it

	CanaryFile      string // relative to Path: its first byte is read; "" for none
	CanaryDirectory string // relative to Path: its first entries are read; "" for none
}

// Size is the length in bytes of r in a batch.
func (r Request) Size() int {
	return requestHeader + len(r.Path) + len(r.CanaryFile) + len(r.CanaryDirectory)
}

const (
	batchHeader   = 1 // the version
	requestHeader = 1 + 8 + 3*2
)

// EncodeBatch returns the message that asks for up to MaxItems probes of up to MaxTargets targets,
// at most MaxBatch bytes long. A descriptor of each target's /proc/PID travels with it.
func EncodeBatch(batch []Request) []byte {
	size := batchHeader
	for i := range batch {
		size += batch[i].Size()
	}
	b := append(make([]byte, 0, size), version)
	for i := range batch {
		r := &batch[i]
		b = binary.LittleEndian.AppendUint64(append(b, r.Target), r.MountID)
		for _, text := range []string{r.Path, r.CanaryFile, r.CanaryDirectory} {
			b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
			b = append(b, text...)
		}
	}
	return b
}

// DecodeBatch is the inverse of EncodeBatch.
func DecodeBatch(b []byte) (batch []Request, err error) {
	if len(b) <= batchHeader || len(b) > MaxBatch || b[0] != version {
		return nil, errProtocol
	}
	for b = b[batchHeader:]; len(b) > 0; {
		var r Request
		if b, err = r.decodeFront(b); err != nil || len(batch) == MaxItems {
			return nil, errProtocol
		}
		batch = append(batch, r)
	}
	return batch, nil
}

// decodeFront fills r from the front of b and returns the rest of b.
func (r *Request) decodeFront(b []byte) ([]byte, error) {
	if len(b) < requestHeader {
		return nil, errProtocol
	}
	r.Target, r.MountID, b = b[0], binary.LittleEndian.Uint64(b[1:]), b[9:]
	for _, text := range []*string{&r.Path, &r.CanaryFile, &r.CanaryDirectory} {
		if len(b) < 2 {
			return nil, errProtocol
		}
		n := int(binary.LittleEndian.Uint16(b))
		if b = b[2:]; n > len(b) || n > MaxPath {
			return nil, errProtocol
		}
		*text, b = string(b[:n]), b[n:]
	}
	if r.Path == "" {
		return nil, errProtocol
	}
	return b, nil
}

// Kind says what a Message is.
type Kind uint8

// The kinds of messages of a worker: KindHello once, then KindDone for each batch.
const (
	KindHello Kind = iota
	KindDone       // the ProgressPage holds the answers
	kinds
)

// Message is what a worker says.
type Message struct {
	Kind   Kind
	Undone Privilege // KindHello: what could not be dropped
}

// MessageSize is the length of every encoded Message in bytes.
const MessageSize = 3

// Encode returns the message.
func (m Message) Encode() []byte { return []byte{version, byte(m.Kind), byte(m.Undone)} }

// DecodeMessage is the inverse of Encode.
func DecodeMessage(b []byte) (Message, error) {
	if len(b) != MessageSize || b[0] != version || b[1] >= byte(kinds) {
		return Message{}, errProtocol
	}
	return Message{Kind: Kind(b[1]), Undone: Privilege(b[2])}, nil
}

// Stage is a step of a probe.
type Stage uint8

// The stages in their order.
const (
	StageRoot     Stage = iota // open the root directory of the target
	StageOpen                  // walk the path
	StageIdentify              // ask which mount it is on; never blocks
	StageStatfs
	StageStatx
	StageCanary // open and read the canaries
	stages
)

// Operation returns the name of the stage in observations.
func (s Stage) Operation() probes.Operation {
	switch s {
	case StageStatfs:
		return probes.OpStatfs
	case StageStatx:
		return probes.OpStatx
	case StageCanary:
		return probes.OpCanary
	default:
		return probes.OpOpen
	}
}

// Answer is how one probe ended.
type Answer struct {
	Stage     Stage         // where it ended
	Errno     syscall.Errno // 0 when the last stage was good
	MountID   uint64        // the mount found, 0 before StageIdentify
	MountRoot bool          // the path is the root of that mount
	Mismatch  bool          // it is not the expected mount, which ended the probe
	Unasked   bool          // the kernel answered fstatfs without asking the FUSE server
	Unlinked  bool          // the root of an NFS mount has no link any more
	NoSpace   bool          // no block is left for users other than root
	File      bool          // the root of the mount is a plain file
	WrongType bool          // the canary is not the file, or not the directory, that it should be
}

const (
	flagMountRoot = 1 << iota
	flagMismatch
	flagUnasked
	flagUnlinked
	flagNoSpace
	flagWrongType
	flagFile
	flagsEnd
)

func (a *Answer) packFlags() byte {
	return bitIf(a.MountRoot, flagMountRoot) | bitIf(a.Mismatch, flagMismatch) | bitIf(a.Unasked, flagUnasked) |
		bitIf(a.Unlinked, flagUnlinked) | bitIf(a.NoSpace, flagNoSpace) | bitIf(a.WrongType, flagWrongType) |
		bitIf(a.File, flagFile)
}

func (a *Answer) unpackFlags(b byte) {
	a.MountRoot = b&flagMountRoot != 0
	a.Mismatch = b&flagMismatch != 0
	a.Unasked = b&flagUnasked != 0
	a.Unlinked = b&flagUnlinked != 0
	a.NoSpace = b&flagNoSpace != 0
	a.WrongType = b&flagWrongType != 0
	a.File = b&flagFile != 0
}

func bitIf(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}
