package nfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Numbers of ONC RPC (RFC 5531), of NFS, and of the portmapper (RFC 1833).
const (
	typeCall, typeReply = 0, 1
	rpcVersion          = 2
	replyAccepted       = 0
	authNone            = 0
	maxVerifier         = 400

	acceptSuccess     = 0
	acceptUnavailable = 1 // the program is not there
	acceptMismatch    = 2 // the program is there, of other versions
	acceptLast        = 5

	programPortmap, programNFS = 100000, 100003
	versionPortmap             = 2
	procedureNull              = 0
	procedureGetPort           = 3
	protocolTCP                = 6

	lastFragment = 1 << 31
	maxReply     = 4 << 10 // bytes; those of a NULL or a GETPORT are tens
	maxFragments = 16
)

// errDenied says that the server exists but does not accept a call without credentials.
var errDenied = errors.New("the server denies the call")

// errNoReply says that the answer is no reply to the call.
var errNoReply = errors.New("what it answers is no reply of RPC")

// encodeCall returns a call without credentials as one record: a fragment, which is the last.
func encodeCall(id, program, version, procedure uint32, args ...uint32) []byte {
	words := append([]uint32{id, typeCall, rpcVersion, program, version, procedure, authNone, 0, authNone, 0}, args...)
	record := binary.BigEndian.AppendUint32(nil, lastFragment|uint32(4*len(words)))
	for _, w := range words {
		record = binary.BigEndian.AppendUint32(record, w)
	}
	return record
}

// readRecord reads one record with all its fragments. The error is errNoReply, or that of reading.
func readRecord(r io.Reader) ([]byte, error) {
	var record []byte
	for range maxFragments {
		var header [4]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return nil, err
		}
		mark := binary.BigEndian.Uint32(header[:])
		size := int(mark &^ lastFragment)
		if size > maxReply-len(record) {
			return nil, fmt.Errorf("%w: a record of more than %d bytes", errNoReply, maxReply)
		}
		start := len(record)
		record = append(record, make([]byte, size)...)
		if _, err := io.ReadFull(r, record[start:]); err != nil {
			return nil, err
		}
		if mark&lastFragment != 0 {
			return record, nil
		}
	}
	return nil, fmt.Errorf("%w: a record of more than %d fragments", errNoReply, maxFragments)
}

// parseReply returns the accept state of the call with the id, and the results that follow. The
// error is errNoReply or errDenied.
func parseReply(record []byte, id uint32) (accept uint32, results []byte, err error) {
	d := xdrDecoder{record}
	echo, kind, state := d.readWord(), d.readWord(), d.readWord()
	switch {
	case d.rest == nil || echo != id || kind != typeReply:
		return 0, nil, errNoReply
	case state != replyAccepted:
		return 0, nil, errDenied
	}
	d.readWord() // the flavour of the verifier
	d.skipOpaque(d.readWord())
	accept = d.readWord()
	if accept == acceptMismatch {
		d.readWord() // the lowest version
		d.readWord() // and the highest
	}
	if d.rest == nil || accept > acceptLast {
		return 0, nil, errNoReply
	}
	return accept, d.rest, nil
}

// xdrDecoder reads XDR (RFC 4506) word by word. At the end of the data rest becomes nil, and all
// further words are 0.
type xdrDecoder struct{ rest []byte }

func (d *xdrDecoder) readWord() uint32 {
	if len(d.rest) < 4 {
		d.rest = nil
		return 0
	}
	w := binary.BigEndian.Uint32(d.rest)
	d.rest = d.rest[4:]
	return w
}

// skipOpaque skips opaque data, which is padded to whole words.
func (d *xdrDecoder) skipOpaque(size uint32) {
	padded := (int(size) + 3) &^ 3
	if size > maxVerifier || len(d.rest) < padded {
		d.rest = nil
		return
	}
	d.rest = d.rest[padded:]
}
