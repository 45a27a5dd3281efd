package mountinfo

import (
	"fmt"
	"io"
)

// Grow is called before a table takes this many more bytes of memory. Its error ends the reading.
type Grow func(bytes int) error

// Reader reads the table of one process again and again. While the text stays the same, so does the
// Table, unless it is a large one. The zero value is ready; it is not safe for concurrent use, the
// Tables are.
type Reader struct {
	text  string
	table *Table
}

// Read does what the function Read does, and returns the same Table as before while the text is
// the same.
func (r *Reader) Read(from io.Reader, grow Grow) (*Table, error) {
	table, err := r.readTable(newChunkReader(from), grow)
	if err != nil {
		r.Forget()
		return nil, fmt.Errorf("read mount table: %w", err)
	}
	return table, nil
}

// Forget drops the table that was read.
func (r *Reader) Forget() { *r = Reader{} }

// readTable parses the text, unless it is a single chunk that has not changed.
func (r *Reader) readTable(chunks *chunkReader, grow Grow) (*Table, error) {
	chunk, err := chunks.nextLines()
	if err != nil {
		return nil, err
	}
	if r.table != nil && chunks.ended && string(chunk) == r.text {
		return r.table, grow.requestBytes(r.table.bytes)
	}
	first, whole := string(chunk), chunks.ended
	t := &Table{}
	for lines := first; lines != ""; lines = string(chunk) {
		if err := t.addLines(lines, grow); err != nil {
			return nil, err
		}
		if chunk, err = chunks.nextLines(); err != nil {
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

// requestBytes asks for more bytes. Without a Grow there is no limit.
func (g Grow) requestBytes(bytes int) error {
	if g == nil {
		return nil
	}
	return g(bytes)
}
