package fuzz_test

import (
	"fmt"
	"strings"
	"testing"

	oracle "github.com/moby/sys/mountinfo"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// FuzzMountinfoLine writes a line as the kernel does (show_mountinfo in fs/proc_namespace.c) from texts that whoever mounts
// may choose. Both parsers must return these texts, and find the line that follows, whatever is in them.
func FuzzMountinfoLine(f *testing.F) {
	f.Add(uint16(36), uint32(98), uint32(7), "/mnt1", "/mnt2", "rw,noatime", "master:1", "ext3", "/dev/root", "rw,errors=continue")
	f.Fuzz(func(t *testing.T, id uint16, major, minor uint32, root, point, options, optional, fsType, source, super string) {
		want := mountinfo.Mount{
			ID: int(id), Parent: int(id) + 1, Device: mountinfo.Device{Major: major >> 1, Minor: minor >> 1},
			Root: "/" + plain(root), MountPoint: "/" + plain(point), Options: word("rw", options), Optional: tags(optional),
			FSType: "x" + plain(fsType), Source: plain(source), SuperOptions: "rw" + plain(super),
		}
		next := want
		next.ID, next.Source = int(id)+2, "next"
		text := line(want) + line(next)
		ours, err := mountinfo.Read(strings.NewReader(text), nil)
		if err != nil || ours.Malformed != 0 || len(ours.Mounts) != 2 || ours.Mounts[0] != want || ours.Mounts[1] != next {
			t.Fatalf("%q\nread as %+v %v\nwritten %+v", text, ours, err, want)
		}
		compare(t, text, ours)
	})
}

// FuzzMountinfoText compares both parsers on lines as they come.
func FuzzMountinfoText(f *testing.F) {
	f.Add("36 35 98:7 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
	f.Fuzz(func(t *testing.T, text string) {
		for line := range strings.Lines(text) {
			ours, err := mountinfo.Read(strings.NewReader(line), nil)
			if err != nil {
				t.Fatal(err)
			}
			if ours.Malformed == 0 && oracleIsRight(line) {
				compare(t, line, ours)
			}
		}
	})
}

// oracleIsRight tells lines of which the oracle is known to make something else, none of which the kernel writes, but for
// blanks in the last field and carriage returns: it takes the last " - " for the separator, drops the carriage return at the
// end of a line and lines beyond 64 KiB, wraps escapes beyond a byte, refuses what only looks like an escape, and numbers as
// large as the kernel's own become 0.
func oracleIsRight(line string) bool {
	line = strings.TrimSuffix(line, "\n")
	_, fs, found := strings.Cut(line, " - ")
	return found && len(line) < 64<<10 && strings.Count(fs, " ") == 2 && !strings.HasPrefix(fs, "- ") && !strings.Contains(fs, " - ") &&
		!strings.HasSuffix(line, "\r") && !strings.Contains(line, `\`)
}

func compare(t *testing.T, text string, ours *mountinfo.Table) {
	t.Helper()
	theirs, err := oracle.GetMountsFromReader(strings.NewReader(text), nil)
	if err != nil || len(theirs) != len(ours.Mounts) {
		t.Fatalf("%q\nours   %+v\ntheirs %v %v", text, ours, theirs, err)
	}
	for i, m := range ours.Mounts {
		o := theirs[i]
		their := mountinfo.Mount{
			ID: o.ID, Parent: o.Parent, Device: mountinfo.Device{Major: uint32(o.Major), Minor: uint32(o.Minor)},
			Root: o.Root, MountPoint: o.Mountpoint, Options: o.Options, Optional: o.Optional,
			FSType: o.FSType, Source: o.Source, SuperOptions: m.SuperOptions,
		}
		// The oracle leaves the last field as it is escaped.
		if m != their || m.SuperOptions != o.VFSOptions && escape(m.SuperOptions, " \t\n\\") != o.VFSOptions {
			t.Fatalf("%q\nours   %+v\ntheirs %+v", text, m, o)
		}
	}
}

// line is what the kernel writes of m.
func line(m mountinfo.Mount) string {
	const blanks = " \t\n\\"
	optional := ""
	if m.Optional != "" {
		optional = " " + m.Optional
	}
	return fmt.Sprintf("%d %d %s %s %s %s%s - %s %s %s\n", m.ID, m.Parent, m.Device, escape(m.Root, blanks), escape(m.MountPoint, blanks),
		m.Options, optional, escape(m.FSType, blanks), escape(m.Source, blanks+"#"), escape(m.SuperOptions, blanks))
}

// escape is the kernel's mangle_path and seq_escape.
func escape(s, chars string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(chars, s[i]) >= 0 {
			fmt.Fprintf(&b, `\%03o`, s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// plain takes out what the oracle loses: a carriage return at the end of a line.
func plain(s string) string { return strings.ReplaceAll(s, "\r", "") }

// word is a mount option, of which the kernel alone chooses the characters.
func word(head, s string) string { return head + strings.Join(strings.FieldsFunc(s, notOption), ",") }

// tags are the optional fields: words of the kernel's own.
func tags(s string) string { return strings.Join(strings.FieldsFunc(s, notOption), " ") }

func notOption(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != ':' && r != '_'
}
