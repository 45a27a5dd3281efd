package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func load(t *testing.T, dir, name string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	if block == nil || len(rest) > 0 {
		t.Fatalf("%s is not one PEM block", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func written(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	err := Write(dir, []Identity{
		{File: "server", User: "the-server", Names: []string{"localhost"}, Addrs: []net.IP{net.IPv4(10, 96, 0, 1)}},
		{File: "admin", User: "the-admin", Group: "system:masters"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCertificatesVerify(t *testing.T) {
	dir := written(t)
	roots := x509.NewCertPool()
	roots.AddCert(load(t, dir, "ca.crt"))
	for _, c := range []struct {
		file, host string
		usage      x509.ExtKeyUsage
		ok         bool
	}{
		{"server.crt", "localhost", x509.ExtKeyUsageServerAuth, true},
		{"server.crt", "10.96.0.1", x509.ExtKeyUsageServerAuth, true},
		{"server.crt", "", x509.ExtKeyUsageClientAuth, true},
		{"server.crt", "10.96.0.2", x509.ExtKeyUsageServerAuth, false},
		{"server.crt", "", x509.ExtKeyUsageCodeSigning, false},
		{"admin.crt", "", x509.ExtKeyUsageClientAuth, true},
	} {
		_, err := load(t, dir, c.file).Verify(x509.VerifyOptions{
			Roots: roots, DNSName: c.host, KeyUsages: []x509.ExtKeyUsage{c.usage},
		})
		if (err == nil) != c.ok {
			t.Errorf("%s for %q: %v", c.file, c.host, err)
		}
	}
}

func TestSubjectIsUserAndGroup(t *testing.T) {
	dir := written(t)
	admin, server := load(t, dir, "admin.crt").Subject, load(t, dir, "server.crt").Subject
	if admin.CommonName != "the-admin" || len(admin.Organization) != 1 || admin.Organization[0] != "system:masters" {
		t.Errorf("admin is %v", admin)
	}
	if server.CommonName != "the-server" || len(server.Organization) != 0 {
		t.Errorf("server is %v", server)
	}
}

func TestLifetime(t *testing.T) {
	dir := written(t)
	for _, file := range []string{"ca.crt", "server.crt"} {
		cert := load(t, dir, file)
		if cert.NotBefore.After(time.Now().Add(-time.Minute)) || cert.NotAfter.Before(time.Now().Add(24*time.Hour)) {
			t.Errorf("%s is valid from %v to %v", file, cert.NotBefore, cert.NotAfter)
		}
		if cert.IsCA != (file == "ca.crt") {
			t.Errorf("%s: authority %v", file, cert.IsCA)
		}
	}
}

func TestKeysFitAndAreSecret(t *testing.T) {
	dir := written(t)
	for _, name := range []string{"server", "admin"} {
		at := filepath.Join(dir, name)
		if _, err := tls.LoadX509KeyPair(at+".crt", at+".key"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 7 {
		t.Fatalf("files: %v %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f.Name(), info.Mode(), err)
		}
	}
}

func TestTokenKeysAreOnePair(t *testing.T) {
	dir := written(t)
	decode := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		return block.Bytes
	}
	private, err := x509.ParseECPrivateKey(decode("sa.key"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(decode("sa.pub"))
	if err != nil || !private.PublicKey.Equal(public) {
		t.Errorf("sa.pub is not the other half of sa.key: %v", err)
	}
}

func TestUnwritableFolder(t *testing.T) {
	if err := Write("/proc/self/none", nil); err == nil {
		t.Error("no error")
	}
}
