package nfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

func newLocalCheck(patience time.Duration) serverCheck {
	return serverCheck{nfsPort: 1, portmapPort: 1, timeout: patience, allowLocal: true}
}

func TestServers(t *testing.T) {
	for name, row := range map[string]struct {
		behave func(net.Conn, []byte)
		want   probes.Readiness
		detail string
	}{
		"answers":              {replyWith(goodReply...), probes.Ready, "answers"},
		"has other versions":   {replyWith(typeReply, replyAccepted, authNone, 0, acceptMismatch, 4, 4), probes.Ready, "answers"},
		"answers byte by byte": {replySlowly, probes.Ready, "answers"},
		"answers in fragments": {func(c net.Conn, call []byte) { _, _ = c.Write(makeRecord(makeReply(call, goodReply...), 4)) }, probes.Ready, "answers"},
		"ends with no bytes": {func(c net.Conn, call []byte) {
			first := makeRecord(makeReply(call, goodReply...), maxReply)
			first[0] = 0
			_, _ = c.Write(append(first, lastFragment>>24, 0, 0, 0))
		}, probes.Ready, "answers"},
		"shows a verifier": {replyWith(typeReply, replyAccepted, 6, 5, 0x01020304, 0x05000000, acceptSuccess), probes.Ready, "answers"},

		"hangs":                         {hang, probes.NotReady, "does not answer"},
		"hangs within the header":       {writeText("\x80\x00"), probes.NotReady, "does not answer"},
		"hangs within the reply":        {writeText("\x80\x00\x00\x18moun"), probes.NotReady, "does not answer"},
		"never sends the last fragment": {writeText("\x00\x00\x00\x04moun"), probes.NotReady, "does not answer"},
		"closes":                        {closeConn, probes.NotReady, "closes"},
		"closes within the reply":       {func(c net.Conn, _ []byte) { writeText("\x80\x00\x00\x18moun")(c, nil); closeConn(c, nil) }, probes.NotReady, "closes"},
		"resets":                        {resetConn, probes.NotReady, "closes"},
		"speaks HTTP":                   {writeText("HTTP/1.1 400 Bad Request\r\n\r\n"), probes.NotReady, "no reply of RPC"},
		"speaks SSH":                    {writeText("SSH-2.0-OpenSSH_10.0\r\n"), probes.NotReady, "no reply of RPC"},
		"sends nothing for ever":        {writeText(strings.Repeat("\x00\x00\x00\x00", 100)), probes.NotReady, "fragments"},
		"sends a gigabyte":              {writeText("\xbf\xff\xff\xff" + strings.Repeat("x", 10_000)), probes.NotReady, "bytes"},
		"sends too much in parts":       {writeText(strings.Repeat("\x00\x00\x08\x00"+strings.Repeat("x", 2048), 3)), probes.NotReady, "bytes"},
		"answers another call": {func(c net.Conn, _ []byte) {
			_, _ = c.Write(makeRecord(makeReply([]byte("othr"), goodReply...), maxReply))
		}, probes.NotReady, "no reply"},
		"echoes the call":            {func(c net.Conn, call []byte) { _, _ = c.Write(makeRecord(call, maxReply)) }, probes.NotReady, "no reply"},
		"answers with half a reply":  {replyWith(goodReply[:3]...), probes.NotReady, "no reply"},
		"answers with an id only":    {replyWith(), probes.NotReady, "no reply"},
		"has an endless verifier":    {replyWith(typeReply, replyAccepted, authNone, 0xffffffff, 0, 0), probes.NotReady, "no reply"},
		"has a verifier that is cut": {replyWith(typeReply, replyAccepted, authNone, 8, 0), probes.NotReady, "no reply"},
		"accepts in an unknown way":  {replyWith(typeReply, replyAccepted, authNone, 0, 6), probes.NotReady, "no reply"},
		"hides its versions":         {replyWith(typeReply, replyAccepted, authNone, 0, acceptMismatch, 4), probes.NotReady, "no reply"},
		"serves no NFS":              {replyWith(typeReply, replyAccepted, authNone, 0, acceptUnavailable), probes.NotReady, "does not serve NFS"},
		"has an error":               {replyWith(typeReply, replyAccepted, authNone, 0, 5), probes.NotReady, "RPC error 5"},

		"denies strangers":          {replyWith(typeReply, 1, 1, 5), probes.Unclear, "denies"},
		"denies the version of RPC": {replyWith(typeReply, 1, 0, 2, 2), probes.Unclear, "denies"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := startServer(t, row.behave)
			patience := 20 * time.Second // on a busy machine
			if strings.Contains(row.detail, "does not answer") {
				patience = shortTimeout
			}
			for _, version := range []int{3, 4} {
				f := newLocalCheck(patience).probeServer(context.Background(), ask.NFS{Server: "127.0.0.1", Port: port, Version: version})
				expectReadiness(t, f, row.want, row.detail)
				if !strings.Contains(f.Detail, fmt.Sprint(port)) {
					t.Errorf("it is not said who: %q", f.Detail)
				}
			}
		})
	}
}

// The call is what a server expects: a program and its version, and nobody's credentials.
func TestCall(t *testing.T) {
	var got [2]atomic.Value
	port := startServer(t, func(c net.Conn, call []byte) {
		if binary.BigEndian.Uint32(call[16:]) == 4 {
			got[1].Store(string(call[4:]))
		} else {
			got[0].Store(string(call[4:]))
		}
		replyWith(goodReply...)(c, call)
	})
	for version := range 5 {
		expectReadiness(t, newLocalCheck(shortTimeout).probeServer(context.Background(), ask.NFS{Server: "127.0.0.1", Port: port, Version: version}), probes.Ready, "")
	}
	for i, version := range []string{"\x03", "\x04"} {
		want := "\x00\x00\x00\x00" + "\x00\x00\x00\x02" + "\x00\x01\x86\xa3" + "\x00\x00\x00" + version + strings.Repeat("\x00", 20)
		if got[i].Load() != want {
			t.Errorf("version %q: %q, want %q", version, got[i].Load(), want)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	q := ask.NFS{Server: "127.0.0.1", Port: findClosedPort(t)}
	expectReadiness(t, newLocalCheck(20*time.Second).probeServer(context.Background(), q), probes.NotReady, "refuses")
}

// The port of an NFS 3 is its portmapper's to tell, and only when the usual one does not answer.
func TestPortmapper(t *testing.T) {
	answers, silent, gone := startServer(t, replyWith(goodReply...)), startServer(t, hang), findClosedPort(t)
	tells := func(port int) int {
		return startServer(t, replyWith(append(append([]uint32{}, goodReply...), uint32(port))...))
	}
	never := startServer(t, func(net.Conn, []byte) { t.Error("it is not to be asked") })
	for name, row := range map[string]struct {
		usual, portmap int
		q              ask.NFS
		want           probes.Readiness
		detail         string
	}{
		"elsewhere":             {gone, tells(answers), ask.NFS{Version: 3}, probes.Ready, fmt.Sprint(answers)},
		"elsewhere, too late":   {silent, tells(answers), ask.NFS{Version: 3}, probes.Ready, fmt.Sprint(answers)},
		"version not known":     {gone, tells(answers), ask.NFS{}, probes.Ready, fmt.Sprint(answers)},
		"usual":                 {answers, never, ask.NFS{Version: 3}, probes.Ready, fmt.Sprint(answers)},
		"NFS 4 is never moved":  {gone, never, ask.NFS{Version: 4}, probes.NotReady, "refuses"},
		"mounted with a port":   {answers, never, ask.NFS{Version: 3, Port: gone}, probes.NotReady, "refuses"},
		"elsewhere, and hangs":  {gone, tells(silent), ask.NFS{Version: 3}, probes.NotReady, "does not answer"},
		"elsewhere, and gone":   {silent, tells(gone), ask.NFS{Version: 3}, probes.NotReady, "refuses"},
		"not registered":        {gone, tells(0), ask.NFS{Version: 3}, probes.NotReady, fmt.Sprint(gone)},
		"registered as usual":   {gone, tells(gone), ask.NFS{Version: 3}, probes.NotReady, fmt.Sprint(gone)},
		"impossible port":       {gone, tells(1 << 16), ask.NFS{Version: 3}, probes.NotReady, fmt.Sprint(gone)},
		"portmapper is gone":    {gone, gone, ask.NFS{Version: 3}, probes.NotReady, fmt.Sprint(gone)},
		"portmapper hangs":      {gone, silent, ask.NFS{Version: 3}, probes.NotReady, fmt.Sprint(gone)},
		"portmapper is another": {gone, startServer(t, writeText("SSH-2.0\r\n")), ask.NFS{Version: 3}, probes.NotReady, fmt.Sprint(gone)},
		"portmapper says less":  {gone, startServer(t, replyWith(goodReply...)), ask.NFS{Version: 3}, probes.NotReady, fmt.Sprint(gone)},
		"portmapper has none":   {gone, startServer(t, replyWith(typeReply, replyAccepted, 0, 0, acceptUnavailable, 2049)), ask.NFS{Version: 3}, probes.NotReady, fmt.Sprint(gone)},
	} {
		t.Run(name, func(t *testing.T) {
			row.q.Server = "127.0.0.1"
			expectReadiness(t, serverCheck{nfsPort: row.usual, portmapPort: row.portmap, timeout: 2 * shortTimeout, allowLocal: true}.probeServer(context.Background(), row.q), row.want, row.detail)
		})
	}
}

// What this process cannot reach by its nature, or does not understand, says nothing of the server.
func TestUnclear(t *testing.T) {
	for server, detail := range map[string]string{
		"": "not known", "127.0.0.1": "own network", "127.1.2.3": "own network", "::1": "own network", "localhost": "own network", "0.0.0.0": "own network",
		"169.254.1.1": "own network", "fe80::1": "own network", "fe80::1%eth0": "own network", "::ffff:127.0.0.1": "own network",
		"no-such-server.invalid": "lookup", "a b": "lookup", "-": "lookup",
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		f := CheckServer(ctx, ask.NFS{Server: server})
		cancel()
		if f.Readiness != probes.Unclear || detail != "lookup" && !strings.Contains(f.Detail, detail) || f.Detail == "" {
			t.Errorf("%q: %+v, want Unclear, %q", server, f, detail)
		}
	}
	for _, port := range []int{-1, 65536, 1 << 40} {
		expectReadiness(t, CheckServer(context.Background(), ask.NFS{Server: "192.0.2.1", Port: port}), probes.Unclear, "1 to 65535")
	}
}

func TestErrors(t *testing.T) {
	dial := func(err error) error { return fmt.Errorf("%w: %w", errDial, &net.OpError{Op: "dial", Err: err}) }
	for _, row := range []struct {
		err  error
		want probes.Readiness
	}{
		{dial(syscall.ECONNREFUSED), probes.NotReady},
		{dial(syscall.ETIMEDOUT), probes.NotReady},
		{dial(syscall.EHOSTUNREACH), probes.NotReady},
		{dial(syscall.EHOSTDOWN), probes.NotReady},
		{dial(context.DeadlineExceeded), probes.NotReady},
		{dial(syscall.ENETUNREACH), probes.Unclear},
		{dial(syscall.EPERM), probes.Unclear},
		{dial(syscall.EACCES), probes.Unclear},
		{dial(syscall.EADDRNOTAVAIL), probes.Unclear},
		{dial(syscall.EMFILE), probes.Unclear},
		{dial(&net.DNSError{Err: "no such host"}), probes.Unclear},
		{dial(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), probes.Unclear},
		{dial(context.Canceled), probes.Unclear},
		{syscall.ECONNRESET, probes.NotReady},
		{syscall.EPIPE, probes.NotReady},
		{syscall.ETIMEDOUT, probes.NotReady},
	} {
		if f := judgeServerError("it", row.err); f.Readiness != row.want || f.Detail == "" {
			t.Errorf("%v: %+v, want %s", row.err, f, row.want)
		}
	}
}
