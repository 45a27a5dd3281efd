package mountinfo

import (
	"errors"
	"fmt"
	"io"
)

const (
	firstBytes = 4 << 10   // the kernel hands out a page at a time
	keepBytes  = 256 << 10 // of a larger table nothing is kept: a tenant chooses how large the tables of containers are
)

// Reader reads the table of one process again and again. While the text stays the same, so does the Table. The
// zero value is ready; it is not safe for concurrent use, the Tables are.
type Reader struct {
	text  string
	table *Table
	buf   []byte
}

// Read is the function Read.
func (r *Reader) Read(from io.Reader) (*Table, error) {
	err := r.fill(from)
	defer r.forget()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read mount table: %w", err)
	case len(r.buf) > MaxBytes:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBytes)
	case r.table != nil && string(r.buf) == r.text:
		return r.table, nil
	}
	text := string(r.buf)
	table, err := parse(text)
	if err == nil {
		r.text, r.table = text, table
	}
	return table, err
}

// fill reads one byte more than is allowed at most.
func (r *Reader) fill(from io.Reader) error {
	if r.buf == nil {
		r.buf = make([]byte, 0, firstBytes)
	}
	r.buf = r.buf[:0]
	for len(r.buf) <= MaxBytes {
		if len(r.buf) == cap(r.buf) {
			r.buf = append(r.buf, 0)[:len(r.buf)]
		}
		n, err := from.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+n]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) forget() {
	if cap(r.buf) > keepBytes {
		*r = Reader{}
	}
}
