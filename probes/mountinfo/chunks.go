package mountinfo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	firstChunk = 16 << 10 // the table of most containers fits
	maxChunk   = 64 << 10 // of a table are held at a time
	maxField   = 12 << 10 // of a field of a longer line are kept
)

// chunkReader reads a text of lines and returns it in chunks, so that it is never held as a whole.
type chunkReader struct {
	from     io.Reader
	buf      []byte
	returned int  // how much of buf was returned
	ended    bool // the text is at its end

	bytes, lines int // that were read
	began        time.Time
}

func newChunkReader(from io.Reader) *chunkReader {
	return &chunkReader{from: from, buf: make([]byte, 0, firstChunk), began: time.Now()}
}

// nextLines returns the lines that follow, none at the end. They are valid until the next call.
func (p *chunkReader) nextLines() ([]byte, error) {
	p.buf = p.buf[:copy(p.buf, p.buf[p.returned:])]
	p.returned = 0
	for !p.ended && len(p.buf) < maxChunk {
		if err := p.readMore(); err != nil {
			return nil, err
		}
	}
	if !p.ended && bytes.IndexByte(p.buf, '\n') < 0 {
		if err := p.shortenLine(); err != nil {
			return nil, err
		}
	}
	p.returned = len(p.buf)
	if !p.ended {
		p.returned = bytes.LastIndexByte(p.buf, '\n') + 1
	}
	return p.buf[:p.returned], nil
}

// shortenLine cuts the fields of a line that does not fit, and reads it to its end. A tenant can make
// the root of his mount as long as he likes: he moves a directory that is mounted already below
// others, and its line is in the host's table, too. What is cut is longer than any path
// (PATH_MAX, path_resolution(7)), so that it is not taken for another one.
func (p *chunkReader) shortenLine() error {
	kept, field, next := 0, 0, 0
	for {
		for ; next < len(p.buf); next++ {
			c := p.buf[next]
			field++
			switch {
			case c == '\n':
				p.buf[kept] = c
				p.buf = append(p.buf[:kept+1], p.buf[next+1:]...)
				return nil
			case c == ' ': // others are escaped
				field = 0
			case field > maxField:
				p.bytes--
				continue
			}
			p.buf[kept] = c
			kept++
		}
		if p.buf, next = p.buf[:kept], kept; p.ended {
			return nil
		}
		if kept >= maxChunk-1 {
			return fmt.Errorf("%w: a line of more than %d bytes", ErrTooLarge, maxChunk)
		}
		if err := p.readMore(); err != nil {
			return err
		}
	}
}

// readMore reads once, and returns an error when the table exceeds a limit.
func (p *chunkReader) readMore() error {
	if len(p.buf) == cap(p.buf) {
		p.buf = append(make([]byte, 0, min(2*cap(p.buf), maxChunk)), p.buf...)
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
