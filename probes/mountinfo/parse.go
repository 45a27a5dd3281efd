package mountinfo

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The size up to which a table is read, and how long. The kernel allows a namespace 100,000 mounts
// (sysctl fs.mount-max) of up to some pages each; a container has tens, a large node some
// thousands. For each line the kernel climbs all the mounts that lie above: the lines of 50,000
// mounts on top of each other took it 12 s. A table that exceeds this is refused.
const (
	MaxBytes = 8 << 20
	MaxLines = 20_000
	MaxTime  = time.Second
)

// ErrTooLarge means that a table exceeds MaxBytes, MaxLines or MaxTime, or has a line of more than
// 64 KiB after its fields were cut to 12 KiB each.
var ErrTooLarge = errors.New("mount table too large")

// Read reads a whole table. A malformed line is counted, and does not fail the others. Without a
// Grow only the limits above hold.
func Read(from io.Reader, grow Grow) (*Table, error) {
	var once Reader
	return once.Read(from, grow)
}

// Each calls f with every mount of a table and returns how many lines are malformed. It holds a
// small part of the text at a time, which f keeps as a whole by keeping a Mount: clone what
// outlives the call.
func Each(from io.Reader, f func(Mount)) (malformed int, err error) {
	chunks := newChunkReader(from)
	for {
		chunk, err := chunks.nextLines()
		if err != nil {
			return malformed, fmt.Errorf("read mount table: %w", err)
		}
		if len(chunk) == 0 {
			return malformed, nil
		}
		malformed += parseLines(string(chunk), f)
	}
}

// parseLines calls f with the mount of each line and returns how many lines are malformed.
func parseLines(lines string, f func(Mount)) (malformed int) {
	for line := range strings.Lines(lines) {
		if m, ok := parseLine(strings.TrimSuffix(line, "\n")); ok {
			f(m)
		} else {
			malformed++
		}
	}
	return malformed
}

// What a mount costs beside its text, in bytes of memory. TestBytes measures it.
const (
	mountBytes = 2 * 136 // a slice that grows has room for twice as many at most
	indexBytes = 192     // its part of the index
)

// addLines parses more lines of the table.
func (t *Table) addLines(lines string, grow Grow) error {
	mounts := strings.Count(lines, "\n") + 1
	cost := len(lines) + mountBytes*mounts
	if strings.Contains(lines, `\`) {
		cost += len(lines) // for fields without their escapes
	}
	if err := grow.requestBytes(cost); err != nil {
		return err
	}
	t.bytes += cost
	t.Mounts = slices.Grow(t.Mounts, mounts)
	t.Malformed += parseLines(lines, func(m Mount) { t.Mounts = append(t.Mounts, m) })
	return nil
}

// buildIndex makes the index of a table of many mounts.
func (t *Table) buildIndex(grow Grow) error {
	if len(t.Mounts) < minIndexed {
		return nil
	}
	cost := indexBytes * len(t.Mounts)
	if err := grow.requestBytes(cost); err != nil {
		return err
	}
	t.bytes += cost
	t.index = newIndex(t.Mounts)
	return nil
}

// parseLine parses
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//
// Fields behind the known ones are allowed and ignored, as the manual asks.
func parseLine(line string) (m Mount, ok bool) {
	mount, fs, ok := splitLine(line)
	if !ok {
		return m, false
	}
	head, tail := lineRest(mount), lineRest(fs)
	id, errID := strconv.Atoi(head.nextField())
	parent, errParent := strconv.Atoi(head.nextField())
	device, okDevice := parseDevice(head.nextField())
	m = Mount{
		ID: id, Parent: parent, Device: device,
		Root: unescapeField(head.nextField()), MountPoint: unescapeField(head.nextField()), Options: head.nextField(),
		FSType: unescapeField(tail.nextField()), Source: unescapeField(tail.nextField()), SuperOptions: unescapeField(tail.nextField()),
		Optional: string(head),
	}
	ok = errID == nil && errParent == nil && okDevice &&
		m.Root != "" && strings.HasPrefix(m.MountPoint, "/") && m.SuperOptions != ""
	return m, ok
}

// lineRest is the rest of a line, from which one field after the other is taken.
type lineRest string

// nextField takes the next field from the line.
func (f *lineRest) nextField() string {
	field, rest, _ := strings.Cut(string(*f), " ")
	*f = lineRest(rest)
	return field
}

// splitLine cuts a line at the " - " behind the sixth field. Blanks are escaped in the fields
// before it, but a lone "-" may well be a root or a mount option, so the first six fields are
// skipped.
func splitLine(line string) (mount, fs string, ok bool) {
	end := 0
	for range 6 {
		i := strings.IndexByte(line[end:], ' ')
		if i < 0 {
			return "", "", false
		}
		end += i + 1
	}
	// The blank behind field 6 may itself begin the separator.
	i := strings.Index(line[end-1:], " - ")
	if i < 0 {
		return "", "", false
	}
	i += end - 1
	return line[:i], line[i+len(" - "):], true
}

func parseDevice(s string) (d Device, ok bool) {
	major, minor, ok := strings.Cut(s, ":")
	if !ok {
		return d, false
	}
	x, errMajor := strconv.ParseUint(major, 10, 32)
	y, errMinor := strconv.ParseUint(minor, 10, 32)
	return Device{uint32(x), uint32(y)}, errMajor == nil && errMinor == nil
}

// unescapeField replaces \ooo, the kernel's escape for a blank (\040), tab (\011), newline (\012),
// backslash (\134) and, in sources, hash (\043) (show_mountinfo). Anything else that follows a
// backslash is kept.
func unescapeField(s string) string {
	i := strings.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for ; i >= 0; i = strings.IndexByte(s, '\\') {
		b.WriteString(s[:i])
		c, width := parseOctal(s[i:])
		b.WriteByte(c)
		s = s[i+width:]
	}
	b.WriteString(s)
	return b.String()
}

// parseOctal reads the escape at the start of s, which begins with a backslash, and returns its
// length.
func parseOctal(s string) (c byte, width int) {
	if len(s) < 4 {
		return '\\', 1
	}
	n, err := strconv.ParseUint(s[1:4], 8, 8)
	if err != nil {
		return '\\', 1
	}
	return byte(n), 4
}
