package nfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

// asker asks servers; the ports are those of the standards but in tests.
type asker struct {
	usual, portmap int
	patience       time.Duration // for each of two tries
	local          bool          // the node's own addresses are asked, too, as tests do
}

// Fresh says whether a server answers. It waits for it for ask.Patience, twice at most. What cannot be reached from
// here by its nature is Unclear.
func Fresh(ctx context.Context, q ask.NFS) probes.Freshness {
	return asker{usual: 2049, portmap: 111, patience: ask.Patience}.fresh(ctx, q)
}

func (a asker) fresh(ctx context.Context, q ask.NFS) probes.Freshness {
	if why := a.refuses(q); why != "" {
		return probes.Freshness{Detail: why}
	}
	port := q.Port
	if port == 0 {
		port = a.usual
	}
	answer := a.null(ctx, q, port)
	if answer.Readiness != probes.NotReady || q.Port != 0 || q.Version == 4 {
		return answer
	}
	if other := a.lookUp(ctx, q); other != 0 && other != port { // an NFS 3 elsewhere
		return a.null(ctx, q, other)
	}
	return answer
}

// refuses says why a server is not asked, "" when it is.
func (a asker) refuses(q ask.NFS) string {
	address, err := netip.ParseAddr(q.Server)
	switch {
	case q.Server == "":
		return "it is not known which NFS server the volume is on"
	case q.Port < 0 || q.Port > 65535:
		return fmt.Sprintf("the NFS server %q has the port %d; 1 to 65535 are possible", q.Server, q.Port)
	case q.Server == "localhost" && !a.local,
		err == nil && !a.local && (address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsUnspecified()):
		return fmt.Sprintf("the NFS server %q is of the node's own network, which is not this one", q.Server)
	default:
		return ""
	}
}

// null makes the call NULL.
func (a asker) null(ctx context.Context, q ask.NFS, port int) probes.Freshness {
	ctx, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	version := uint32(3)
	if q.Version == 4 {
		version = 4
	}
	const id = 0x6d6f756e
	at := net.JoinHostPort(q.Server, strconv.Itoa(port))
	accept, _, err := exchange(ctx, at, id, encodeCall(id, programNFS, version, procedureNull))
	who := fmt.Sprintf("the NFS server %q", at)
	switch {
	case err != nil:
		return failed(who, err)
	case accept == acceptSuccess, accept == acceptMismatch:
		return probes.Freshness{Readiness: probes.Ready, Detail: who + " answers"}
	case accept == acceptUnavailable:
		return probes.Freshness{Readiness: probes.NotReady, Detail: who + " does not serve NFS"}
	default:
		return probes.Freshness{Readiness: probes.NotReady, Detail: fmt.Sprintf("%s answers with the RPC error %d", who, accept)}
	}
}

// lookUp asks the server's portmapper where NFS is, 0 when it does not tell.
func (a asker) lookUp(ctx context.Context, q ask.NFS) int {
	ctx, cancel := context.WithTimeout(ctx, a.patience/2)
	defer cancel()
	const id = 0x706f7274
	at := net.JoinHostPort(q.Server, strconv.Itoa(a.portmap))
	accept, results, err := exchange(ctx, at, id, encodeCall(id, programPortmap, versionPortmap, procedureGetPort, programNFS, 3, protocolTCP, 0))
	d := decoder{results}
	port := d.word()
	if err != nil || accept != acceptSuccess || port > 65535 {
		return 0
	}
	return int(port)
}

// errDial tells that there is no connection.
var errDial = errors.New("connect")

// exchange sends a call over a connection of its own and returns the reply.
func exchange(ctx context.Context, at string, id uint32, call []byte) (accept uint32, results []byte, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errDial, err)
	}
	defer func() { _ = conn.Close() }() // the answer has come, or does not matter
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, nil, err
		}
	}
	if _, err := conn.Write(call); err != nil {
		return 0, nil, err
	}
	record, err := readRecord(conn)
	if err != nil {
		return 0, nil, err
	}
	return parseReply(record, id)
}

// failed says what an error means. What this process's own network or name service says, says nothing of the server.
func failed(who string, err error) probes.Freshness {
	f := probes.Freshness{Readiness: probes.NotReady}
	var name *net.DNSError
	switch {
	case errors.As(err, &name), errors.Is(err, errDenied):
		return probes.Freshness{Detail: fmt.Sprintf("%s: %v", who, err)}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		f.Detail = who + " does not answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Detail = who + " refuses connections"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EHOSTDOWN):
		f.Detail = who + " cannot be reached"
	case errors.Is(err, errDial):
		return probes.Freshness{Detail: fmt.Sprintf("%s: %v", who, err)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.Detail = who + " closes the connection without an answer"
	default:
		f.Detail = fmt.Sprintf("%s: %v", who, err)
	}
	return f
}
