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

// serverCheck asks a server. The ports are the standard ones except in tests.
type serverCheck struct {
	nfsPort, portmapPort int
	timeout              time.Duration // for each of two attempts
	allowLocal           bool          // also ask the node's own addresses, for tests
}

// CheckServer says whether a server answers. It waits for it for ask.Timeout, twice at most. A
// server that by its nature cannot be reached from here is Unclear.
func CheckServer(ctx context.Context, q ask.NFS) probes.MountReadiness {
	return serverCheck{nfsPort: 2049, portmapPort: 111, timeout: ask.Timeout}.probeServer(ctx, q)
}

func (s serverCheck) probeServer(ctx context.Context, q ask.NFS) probes.MountReadiness {
	if why := s.validateQuestion(q); why != "" {
		return probes.MountReadiness{Detail: why}
	}
	port := q.Port
	if port == 0 {
		port = s.nfsPort
	}
	answer := s.callNull(ctx, q, port)
	if answer.Readiness != probes.NotReady || q.Port != 0 || q.Version == 4 {
		return answer
	}
	if other := s.lookUpPort(ctx, q); other != 0 && other != port { // NFS 3 at another port
		return s.callNull(ctx, q, other)
	}
	return answer
}

// validateQuestion returns why the server is not asked, or "".
func (s serverCheck) validateQuestion(q ask.NFS) string {
	address, err := netip.ParseAddr(q.Server)
	switch {
	case q.Server == "":
		return "it is not known which NFS server the volume is on"
	case q.Port < 0 || q.Port > 65535:
		return fmt.Sprintf("the NFS server %q has the port %d; 1 to 65535 are possible", q.Server, q.Port)
	case q.Server == "localhost" && !s.allowLocal,
		err == nil && !s.allowLocal && (address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsUnspecified()):
		return fmt.Sprintf("the NFS server %q is of the node's own network, which is not this one", q.Server)
	default:
		return ""
	}
}

// callNull makes the call NULL.
func (s serverCheck) callNull(ctx context.Context, q ask.NFS, port int) probes.MountReadiness {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	version := uint32(3)
	if q.Version == 4 {
		version = 4
	}
	const id = 0x6d6f756e
	at := net.JoinHostPort(q.Server, strconv.Itoa(port))
	accept, _, err := exchangeCall(ctx, at, id, encodeCall(id, programNFS, version, procedureNull))
	who := fmt.Sprintf("the NFS server %q", at)
	switch {
	case err != nil:
		return judgeServerError(who, err)
	case accept == acceptSuccess, accept == acceptMismatch:
		return probes.MountReadiness{Readiness: probes.Ready, Detail: who + " answers"}
	case accept == acceptUnavailable:
		return probes.MountReadiness{Readiness: probes.NotReady, Detail: who + " does not serve NFS"}
	default:
		return probes.MountReadiness{Readiness: probes.NotReady, Detail: fmt.Sprintf("%s answers with the RPC error %d", who, accept)}
	}
}

// lookUpPort asks the server's portmapper for the port of NFS 3. It returns 0 if there is no
// answer.
func (s serverCheck) lookUpPort(ctx context.Context, q ask.NFS) int {
	ctx, cancel := context.WithTimeout(ctx, s.timeout/2)
	defer cancel()
	const id = 0x706f7274
	at := net.JoinHostPort(q.Server, strconv.Itoa(s.portmapPort))
	accept, results, err := exchangeCall(ctx, at, id, encodeCall(id, programPortmap, versionPortmap, procedureGetPort, programNFS, 3, protocolTCP, 0))
	d := xdrDecoder{results}
	port := d.readWord()
	if err != nil || accept != acceptSuccess || port > 65535 {
		return 0
	}
	return int(port)
}

// errDial says that there is no connection.
var errDial = errors.New("connect")

// exchangeCall sends a call over a new connection and returns the reply.
func exchangeCall(ctx context.Context, at string, id uint32, call []byte) (accept uint32, results []byte, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errDial, err)
	}
	defer func() { _ = conn.Close() }() // the reply was read, or does not matter
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

// judgeServerError says what an error means. An error of this process's own network or name service
// is Unclear: it says nothing about the server.
func judgeServerError(who string, err error) probes.MountReadiness {
	f := probes.MountReadiness{Readiness: probes.NotReady}
	var name *net.DNSError
	switch {
	case errors.As(err, &name), errors.Is(err, errDenied):
		return probes.MountReadiness{Detail: fmt.Sprintf("%s: %v", who, err)}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		f.Detail = who + " does not answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Detail = who + " refuses connections"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EHOSTDOWN):
		f.Detail = who + " cannot be reached"
	case errors.Is(err, errDial):
		return probes.MountReadiness{Detail: fmt.Sprintf("%s: %v", who, err)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.Detail = who + " closes the connection without an answer"
	default:
		f.Detail = fmt.Sprintf("%s: %v", who, err)
	}
	return f
}
