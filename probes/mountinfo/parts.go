package mountinfo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	firstBytes = 16 << 10 // as much as most containers have
	partBytes  = 64 << 10 // of a table are held at a time; no line may be longer
)

// parts reads a text of lines and hands it out in parts, so that it is never held as a whole.
type parts struct {
	from  io.Reader
	buf   []byte
	given int  // of buf, what was handed out
	ended bool // all is read

	bytes, lines int // that were read
	began        time.Time
}

func newParts(from io.Reader) *parts {
	return &parts{from: from, buf: make([]byte, 0, firstBytes), began: time.Now()}
}

// nextLines returns the lines that follow, none at the end. They are valid until it is called
// again.
func (p *parts) nextLines() ([]byte, error) {
	p.buf = p.buf[:copy(p.buf, p.buf[p.given:])]
	p.given = 0
	for !p.ended && len(p.buf) < partBytes {
		if err := p.readMore(); err != nil {
			return nil, err
		}
	}
	p.given = len(p.buf)
	if !p.ended {
		p.given = bytes.LastIndexByte(p.buf, '\n') + 1
	}
	if p.given == 0 && len(p.buf) > 0 {
		return nil, fmt.Errorf("%w: a line of more than %d bytes", ErrTooLarge, partBytes)
	}
	return p.buf[:p.given], nil
}

// readMore reads once, and ends what has become too much.
func (p *parts) readMore() error {
	if len(p.buf) == cap(p.buf) {
		p.buf = append(make([]byte, 0, min(2*cap(p.buf), partBytes)), p.buf...)
	}
	n, err := p.from.Read(p.buf[len(p.buf):cap(p.buf)])
	p.lines += bytes.Count(p.buf[len(p.buf):len(p.buf)+n], []byte{'\n'})
	p.buf = p.buf[:len(p.buf)+n]
	p.bytes += n
	switch {
	case p.bytes > MaxBytes:
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBytes)
	case p.lines > MaxLines:
		return fmt.Errorf("%w: more than %d lines", ErrTooLarge, MaxLines)
	case errors.Is(err, io.EOF):
		p.ended = true
	case err != nil:
		return err
	case time.Since(p.began) > MaxTime:
		return fmt.Errorf("%w: not read within %s", ErrTooLarge, MaxTime)
	}
	return nil
}
