package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	lifetime = 30 * 24 * time.Hour
	skew     = time.Hour // a clock that is set back a little does no harm
)

// Identity is one holder of a certificate that serves and calls.
type Identity struct {
	File   string // base name of its .crt and .key
	User   string // common name: the user that Kubernetes sees
	Group  string // organization: the group that Kubernetes sees; may be empty
	Names  []string
	Addrs  []net.IP
	issuer *authority
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Write makes a certificate authority (ca.crt), a certificate and key for each identity, and the
// key pair that signs service account tokens (sa.key, sa.pub), all in dir, which it makes.
func Write(dir string, identities []Identity) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of certificates: %w", err)
	}
	ca, err := writeAuthority(dir)
	if err != nil {
		return fmt.Errorf("make the certificate authority: %w", err)
	}
	for _, id := range identities {
		id.issuer = ca
		if err := id.write(dir); err != nil {
			return fmt.Errorf("make the certificate of %s: %w", id.User, err)
		}
	}
	if err := writeTokenKeys(dir); err != nil {
		return fmt.Errorf("make the keys for service account tokens: %w", err)
	}
	return nil
}

func writeAuthority(dir string) (*authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := newTemplate("test-cluster-ca")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key}, writePEM(dir, "ca.crt", "CERTIFICATE", der)
}

func (id Identity) write(dir string) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	template := newTemplate(id.User)
	if id.Group != "" {
		template.Subject.Organization = []string{id.Group}
	}
	template.DNSNames, template.IPAddresses = id.Names, id.Addrs
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, id.issuer.cert, key.Public(), id.issuer.key)
	if err != nil {
		return err
	}
	if err := writePEM(dir, id.File+".crt", "CERTIFICATE", der); err != nil {
		return err
	}
	return writeKey(dir, id.File+".key", key)
}

func writeTokenKeys(dir string) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writePEM(dir, "sa.pub", "PUBLIC KEY", public); err != nil {
		return err
	}
	return writeKey(dir, "sa.key", key)
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func newTemplate(user string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: user},
		NotBefore:    now.Add(-skew),
		NotAfter:     now.Add(lifetime),
	}
}

func writeKey(dir, name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(dir, name, "EC PRIVATE KEY", der)
}

func writePEM(dir, name, kind string, der []byte) error {
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return os.WriteFile(filepath.Join(dir, name), block, 0o600)
}
