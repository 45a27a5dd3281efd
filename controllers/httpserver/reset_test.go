package httpserver

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"k8s.io/client-go/util/cert"
)

// A client that takes nothing cannot keep the server from closing its connection, and so from accepting
// others: no alert is sent first, which a pipe hands over only when the other side reads.
func TestResetWaitsForNobody(t *testing.T) {
	pem, key, err := cert.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(pem, key)
	if err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	defer there.Close()
	server := tls.Server(here, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true})
	client := tls.Client(there, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test's own certificate
	shaken := make(chan error, 1)
	go func() { shaken <- client.HandshakeContext(t.Context()) }()
	if err := server.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { reset(server); close(ended) }()
	if n, err := there.Read(make([]byte, 100)); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes and %v, want the end", n, err)
	}
	<-ended
}
