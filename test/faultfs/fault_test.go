package faultfs_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

func TestParseFault(t *testing.T) {
	for text, want := range map[string]faultfs.Fault{
		"none":         {},
		"hang":         faultfs.Hang(),
		"error EIO":    faultfs.Fail(unix.EIO),
		"error ESTALE": faultfs.Fail(unix.ESTALE),
		"slow 1.5s":    faultfs.Slow(1500 * time.Millisecond),
	} {
		got, err := faultfs.ParseFault(text)
		if err != nil || got != want {
			t.Errorf("ParseFault(%q): got %v, %v, want %v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("String of %q: got %q", text, got)
		}
	}
}

func TestParseFaultRefuses(t *testing.T) {
	for text, named := range map[string]string{
		"":             `""`,
		"explode":      `"explode"`,
		"hang on":      `"hang on"`,
		"none at all":  `"none at all"`,
		"error":        `""`,
		"error EWRONG": `"EWRONG"`,
		"error 5":      `"5"`,
		"error eio":    `"eio"`,
		"slow":         `""`,
		"slow 5":       `"5"`,
		"slow -1s":     `"-1s"`,
		"slow 0s":      `"0s"`,
	} {
		_, err := faultfs.ParseFault(text)
		if !errors.Is(err, faultfs.ErrUsage) || !strings.Contains(err.Error(), named) {
			t.Errorf("ParseFault(%q): got %v, want an ErrUsage that names %s", text, err, named)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	for _, seed := range []string{"none", "hang", "error EIO", "error EDEADLOCK", "slow 2s", "slow 1h0m0.5s", "error ", "x y z"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := faultfs.ParseFault(text)
		if err != nil {
			if !errors.Is(err, faultfs.ErrUsage) {
				t.Errorf("error %v of %q is no ErrUsage", err, text)
			}
			return
		}
		again, err := faultfs.ParseFault(fault.String())
		if err != nil || again != fault {
			t.Errorf("%q became %v and then %v, %v", text, fault, again, err)
		}
	})
}

func TestEveryErrorNameIsUnderstood(t *testing.T) {
	for errno := unix.Errno(1); errno <= unix.EHWPOISON; errno++ {
		name := unix.ErrnoName(errno)
		if name == "" {
			continue // numbers 41 and 58 have none
		}
		if got, err := faultfs.ParseFault("error " + name); err != nil || got != faultfs.Fail(errno) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestParseOp(t *testing.T) {
	for _, op := range faultfs.Ops() {
		if got, err := faultfs.ParseOp(string(op)); err != nil || got != op {
			t.Errorf("ParseOp(%q): got %q, %v", op, got, err)
		}
	}
	if _, err := faultfs.ParseOp("chmod"); !errors.Is(err, faultfs.ErrUsage) || !strings.Contains(err.Error(), "statfs") {
		t.Errorf("got %v, want an ErrUsage that names what is allowed", err)
	}
}

func TestStatusAsJSON(t *testing.T) {
	want := faultfs.Status{
		Info:   faultfs.Info{PID: 7, Mountpoint: "/m", Connection: 42},
		Faults: map[faultfs.Op]faultfs.Fault{faultfs.Read: faultfs.Fail(unix.EIO)},
		Held:   1,
	}
	text, err := json.Marshal(want)
	must(t, err)
	const golden = `{"pid":7,"mountpoint":"/m","connection":42,"faults":{"read":"error EIO"},"held":1}`
	if string(text) != golden {
		t.Errorf("got %s, want %s", text, golden)
	}
	var got faultfs.Status
	must(t, json.Unmarshal(text, &got))
	if got.Info != want.Info || got.Faults[faultfs.Read] != want.Faults[faultfs.Read] || got.Held != 1 {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
