package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
)

// WriteJSON writes the snapshot as JSON. An indent takes much more memory than none. It escapes
// characters that are not printable, so that no name of a mount controls a terminal. A reader of
// JSON gets the names unchanged.
func WriteJSON(w io.Writer, s Snapshot, indent string) error {
	encoder := json.NewEncoder(escapeWriter{w})
	encoder.SetIndent("", indent)
	encoder.SetEscapeHTML(false) // it is read as JSON or not at all
	if err := encoder.Encode(s); err != nil {
		return fmt.Errorf("write the status as JSON: %w", err)
	}
	return nil
}

// escapeWriter escapes what an Encoder writes, which is a whole value at a time.
type escapeWriter struct{ io.Writer }

func (e escapeWriter) Write(text []byte) (int, error) {
	_, err := e.Writer.Write(escapeText(text))
	return len(text), err
}

// escapeText returns text itself when there is nothing to escape, which is the usual case.
func escapeText(text []byte) []byte {
	if bytes.IndexFunc(text, isUnprintable) < 0 {
		return text
	}
	var out bytes.Buffer
	for _, r := range string(text) {
		if isUnprintable(r) {
			writeEscape(&out, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

func isUnprintable(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// writeEscape writes a character as JSON does: by its UTF-16 code units (RFC 8259, section 7).
func writeEscape(out *bytes.Buffer, r rune) {
	if r > 0xffff {
		r -= 0x10000
		fmt.Fprintf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		return
	}
	fmt.Fprintf(out, `\u%04x`, r)
}
