package faultfs

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUsage is wrapped by every error that a wrong word causes: an unknown
// operation, fault, error name or duration.
var ErrUsage = errors.New("not understood")

// Op names the requests of the kernel that a fault applies to.
type Op string

// The operations. All is any of the others that has no fault of its own.
const (
	All     Op = "all"
	Statfs  Op = "statfs"
	Getattr Op = "getattr" // stat(2), access(2) and extended attributes
	Lookup  Op = "lookup"
	Open    Op = "open" // open(2) of files and of directories
	Read    Op = "read"
	Readdir Op = "readdir"
	Write   Op = "write" // whatever changes something: write, create, mkdir, chmod, unlink, …
	Other   Op = "other" // the rest: flush, seek, locks, ioctl, …
)

// Ops are all operations in the order in which help texts name them.
func Ops() []Op {
	return []Op{All, Statfs, Getattr, Lookup, Open, Read, Readdir, Write, Other}
}

// ParseOp gives the operation of that name. The error is an ErrUsage.
func ParseOp(name string) (Op, error) {
	for _, op := range Ops() {
		if name == string(op) {
			return op, nil
		}
	}
	return "", fmt.Errorf("operation %q %w: use one of %v", name, ErrUsage, Ops())
}

// A Fault is what happens to an operation in place of its answer. The zero Fault
// is none. Faults can be compared with ==.
type Fault struct {
	hang  bool
	errno syscall.Errno
	delay time.Duration
}

// Hang is the fault of a server that reads a request and never answers it.
func Hang() Fault { return Fault{hang: true} }

// Fail is the fault of a server that answers with errno; 0 is no fault.
func Fail(errno syscall.Errno) Fault { return Fault{errno: errno} }

// Slow is the fault of a server that answers truly, but only after d.
func Slow(d time.Duration) Fault { return Fault{delay: d} }

// String gives the words that ParseFault reads: "none", "hang", "error EIO" or
// "slow 1.5s".
func (f Fault) String() string {
	switch {
	case f.hang:
		return "hang"
	case f.errno != 0:
		return "error " + unix.ErrnoName(f.errno)
	case f.delay != 0:
		return "slow " + f.delay.String()
	default:
		return "none"
	}
}

// ParseFault reads what String writes. The error is an ErrUsage.
func ParseFault(text string) (Fault, error) {
	kind, arg, hasArg := strings.Cut(text, " ")
	switch {
	case kind == "none" && !hasArg:
		return Fault{}, nil
	case kind == "hang" && !hasArg:
		return Hang(), nil
	case kind == "error":
		errno, err := parseErrno(arg)
		return Fail(errno), err
	case kind == "slow":
		d, err := parseDelay(arg)
		return Slow(d), err
	}
	return Fault{}, fmt.Errorf(`fault %q %w: use "hang", "error ERRNO", "slow DURATION" or "none"`, text, ErrUsage)
}

// MarshalText is String, for JSON.
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is ParseFault, for JSON.
func (f *Fault) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFault(string(text))
	return err
}

// lastErrno is the highest error number of Linux (EHWPOISON).
const lastErrno = 133

func parseErrno(name string) (syscall.Errno, error) {
	for e := syscall.Errno(1); name != "" && e <= lastErrno; e++ {
		if unix.ErrnoName(e) == name {
			return e, nil
		}
	}
	return 0, fmt.Errorf("error name %q %w: use one of errno(3), such as EIO, ESTALE or EACCES", name, ErrUsage)
}

func parseDelay(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("delay %q %w: use a duration above 0, such as 500ms or 2s", text, ErrUsage)
	}
	return d, nil
}
