package check

import (
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
)

// version is the first byte of every message, so that an agent and a worker of two builds refuse
// each other instead of misunderstanding.
const version = 1

// MaxPath is the longest path in bytes that a Request can carry, the kernel's PATH_MAX.
const MaxPath = 4096

var errProtocol = errors.New("malformed message: agent and worker are not of the same build")

// Request asks for one look. A descriptor of the target's /proc/PID travels with it.
type Request struct {
	// MountID is the mount that Path is expected on. Another one is not looked at: its file system is
	// not the one whose turn it is. 0 asks only which mount Path is on.
	MountID uint64
	Path    string // absolute, as the target sees it

	CanaryFile      string // below Path: its first byte is read; "" for none
	CanaryDirectory string // below Path: its first entries are read; "" for none
}

const requestHeader = 1 + 8

// Encode returns the message.
func (r Request) Encode() []byte {
	b := make([]byte, 0, requestHeader+len(r.Path))
	b = append(b, version)
	b = binary.LittleEndian.AppendUint64(b, r.MountID)
	return append(b, r.Path...)
}

// DecodeRequest is the inverse of Encode.
func DecodeRequest(b []byte) (Request, error) {
	if len(b) <= requestHeader || len(b) > requestHeader+MaxPath || b[0] != version {
		return Request{}, errProtocol
	}
	return Request{MountID: binary.LittleEndian.Uint64(b[1:]), Path: string(b[requestHeader:])}, nil
}

// Kind says what a Message is.
type Kind uint8

// The kinds of messages of a worker: KindHello once, then for each Request some KindProgress and one KindAnswer.
const (
	KindHello Kind = iota
	KindProgress
	KindAnswer
	kinds
)

// Stage is a step of a look.
type Stage uint8

// The stages in their order.
const (
	StageRoot     Stage = iota // open the root folder of the target
	StageOpen                  // walk to the path
	StageIdentify              // ask which mount it is on; never blocks
	StageStatfs
	StageStatx
	stages
)

// Operation returns the name of the stage in observations.
func (s Stage) Operation() probes.Operation {
	switch s {
	case StageStatfs:
		return probes.OpStatfs
	case StageStatx:
		return probes.OpStatx
	default:
		return probes.OpOpen
	}
}

// Answer is how one look ended.
type Answer struct {
	Stage     Stage         // where it ended
	Errno     syscall.Errno // 0 when the last stage was good
	MountID   uint64        // the mount found, 0 before StageIdentify
	MountRoot bool          // the path is the root of that mount
	Mismatch  bool          // it is not the expected mount, which ended the look
	Unasked   bool          // the kernel answered fstatfs without asking the FUSE server
	Unlinked  bool          // the root of an NFS mount has no link any more
	NoSpace   bool          // no block is left for those who are not root
}

// Message is what a worker says.
type Message struct {
	Kind   Kind
	Undone Privilege // KindHello: what could not be dropped
	Answer Answer    // KindAnswer; of KindProgress only the Stage, which begins now
}

// MessageSize is the length of every encoded Message in bytes.
const MessageSize = 5 + 4 + 8

const (
	flagMountRoot = 1 << iota
	flagMismatch
	flagUnasked
	flagUnlinked
	flagNoSpace
	flagsEnd
)

// Encode returns the message.
func (m Message) Encode() []byte {
	b := make([]byte, 0, MessageSize)
	b = append(b, version, byte(m.Kind), byte(m.Answer.Stage), m.Answer.flags(), byte(m.Undone))
	b = binary.LittleEndian.AppendUint32(b, uint32(m.Answer.Errno))
	return binary.LittleEndian.AppendUint64(b, m.Answer.MountID)
}

func (a Answer) flags() byte {
	return flag(a.MountRoot, flagMountRoot) | flag(a.Mismatch, flagMismatch) |
		flag(a.Unasked, flagUnasked) | flag(a.Unlinked, flagUnlinked) | flag(a.NoSpace, flagNoSpace)
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// DecodeMessage is the inverse of Encode.
func DecodeMessage(b []byte) (Message, error) {
	if len(b) != MessageSize || b[0] != version || b[1] >= byte(kinds) || b[2] >= byte(stages) || b[3] >= flagsEnd {
		return Message{}, errProtocol
	}
	return Message{
		Kind:   Kind(b[1]),
		Undone: Privilege(b[4]),
		Answer: Answer{
			Stage:     Stage(b[2]),
			MountRoot: b[3]&flagMountRoot != 0,
			Mismatch:  b[3]&flagMismatch != 0,
			Unasked:   b[3]&flagUnasked != 0,
			Unlinked:  b[3]&flagUnlinked != 0,
			NoSpace:   b[3]&flagNoSpace != 0,
			Errno:     syscall.Errno(binary.LittleEndian.Uint32(b[5:])),
			MountID:   binary.LittleEndian.Uint64(b[9:]),
		},
	}, nil
}
