package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
)

// WriteJSON writes the snapshot as JSON, indented where an indent is given, which takes much more memory. What is no printable character
// is escaped, so that no name of a mount steers a terminal; a reader of JSON gets the names as they are.
func WriteJSON(w io.Writer, s Snapshot, indent string) error {
	encoder := json.NewEncoder(escaper{w})
	encoder.SetIndent("", indent)
	encoder.SetEscapeHTML(false) // it is read as JSON or not at all
	if err := encoder.Encode(s); err != nil {
		return fmt.Errorf("write the status as JSON: %w", err)
	}
	return nil
}

// escaper escapes what an Encoder writes, which is a whole value at a time.
type escaper struct{ io.Writer }

func (e escaper) Write(text []byte) (int, error) {
	_, err := e.Writer.Write(escaped(text))
	return len(text), err
}

// escaped is text itself where there is nothing to escape, which is nearly always.
func escaped(text []byte) []byte {
	if bytes.IndexFunc(text, unprintable) < 0 {
		return text
	}
	var out bytes.Buffer
	for _, r := range string(text) {
		if unprintable(r) {
			escape(&out, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

func unprintable(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// escape writes a character as JSON does: by its UTF-16 code units (RFC 8259, 7).
func escape(out *bytes.Buffer, r rune) {
	if r > 0xffff {
		r -= 0x10000
		fmt.Fprintf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		return
	}
	fmt.Fprintf(out, `\u%04x`, r)
}
