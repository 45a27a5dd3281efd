package mountinfo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
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
	case r.table != nil && string(r.buf) == r.text:
		return r.table, nil
	}
	r.text = string(r.buf)
	r.table = parse(r.text)
	return r.table, nil
}

// fill reads until the end, or until it is too much.
func (r *Reader) fill(from io.Reader) error {
	if r.buf == nil {
		r.buf = make([]byte, 0, firstBytes)
	}
	r.buf = r.buf[:0]
	lines, began := 0, time.Now()
	for {
		if len(r.buf) == cap(r.buf) {
			r.buf = append(r.buf, 0)[:len(r.buf)]
		}
		n, err := from.Read(r.buf[len(r.buf):cap(r.buf)])
		lines += bytes.Count(r.buf[len(r.buf):len(r.buf)+n], []byte{'\n'})
		r.buf = r.buf[:len(r.buf)+n]
		switch {
		case len(r.buf) > MaxBytes:
			return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBytes)
		case lines > MaxLines:
			return fmt.Errorf("%w: more than %d lines", ErrTooLarge, MaxLines)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case time.Since(began) > MaxTime:
			return fmt.Errorf("%w: not read within %s", ErrTooLarge, MaxTime)
		}
	}
}

func (r *Reader) forget() {
	if cap(r.buf) > keepBytes {
		*r = Reader{}
	}
}
