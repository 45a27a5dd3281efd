package nfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

// FuzzReply reads what a server may send. Only a record that echoes the id may be taken for the
// reply, and nothing may be read beyond its end.
func FuzzReply(f *testing.F) {
	const id = 0x6d6f756e
	call := encodeCall(id, programNFS, 3, procedureNull)[4:]
	f.Add(makeRecord(makeReply(call, goodReply...), maxReply))
	f.Add(makeRecord(makeReply(call, goodReply...), 5))
	f.Add(makeRecord(call, maxReply))
	f.Fuzz(func(t *testing.T, stream []byte) {
		reader := bytes.NewReader(stream)
		text, err := readRecord(reader)
		if err != nil {
			if !errors.Is(err, errNoReply) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
			return
		}
		if len(text) > maxReply || len(text)+reader.Len() > len(stream) {
			t.Fatalf("%d bytes of %d", len(text), len(stream))
		}
		accept, results, err := parseReply(text, id)
		switch {
		case err != nil && (accept != 0 || results != nil):
			t.Fatalf("%d %q beside %v", accept, results, err)
		case err != nil:
			return
		case binary.BigEndian.Uint32(text) != id || binary.BigEndian.Uint32(text[4:]) != typeReply || binary.BigEndian.Uint32(text[8:]) != replyAccepted:
			t.Fatalf("%q is taken for a reply", text)
		case accept > acceptLast || !bytes.HasSuffix(text, results) || len(results)+24 > len(text):
			t.Fatalf("%q has %d and %q", text, accept, results)
		}
		if _, _, err := parseReply(text, id+1); err == nil {
			t.Fatalf("%q answers every call", text)
		}
	})
}

func TestRecordsOneAfterTheOther(t *testing.T) {
	stream := bytes.NewReader(append(makeRecord([]byte("first"), 2), makeRecord([]byte("second"), 100)...))
	for _, want := range []string{"first", "second"} {
		if got, err := readRecord(stream); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := readRecord(stream); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
