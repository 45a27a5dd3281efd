package mountinfo

import (
	"fmt"
	"io"
)

// Grow is asked before a table takes that many more bytes of memory. Its error ends the reading.
type Grow func(bytes int) error

// Reader reads the table of one process again and again. While the text stays the same, so does the
// Table, unless it is a large one. The zero value is ready; it is not safe for concurrent use, the
// Tables are.
type Reader struct {
	text  string
	table *Table
}

// Read is the function Read.
func (r *Reader) Read(from io.Reader, grow Grow) (*Table, error) {
	table, err := r.read(newParts(from), grow)
	if err != nil {
		r.Forget()
		return nil, fmt.Errorf("read mount table: %w", err)
	}
	return table, nil
}

// Forget lets go of the table that was read.
func (r *Reader) Forget() { *r = Reader{} }

func (r *Reader) read(text *parts, grow Grow) (*Table, error) {
	part, err := text.nextLines()
	if err != nil {
		return nil, err
	}
	if r.table != nil && text.ended && string(part) == r.text {
		return r.table, grow.request(r.table.bytes)
	}
	first, whole := string(part), text.ended
	t := &Table{}
	for lines := first; lines != ""; lines = string(part) {
		if err := t.addLines(lines, grow); err != nil {
			return nil, err
		}
		if part, err = text.nextLines(); err != nil {
			return nil, err
		}
	}
	if err := t.buildIndex(grow); err != nil {
		return nil, err
	}
	r.Forget()
	if whole {
		r.text, r.table = first, t
	}
	return t, nil
}

// request asks for more. Who has no Grow is not limited.
func (g Grow) request(bytes int) error {
	if g == nil {
		return nil
	}
	return g(bytes)
}
