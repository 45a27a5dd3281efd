package apiserver

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
)

func tokenFile(users []User) []byte {
	text := fmt.Appendf(nil, "%s,%s,%s,system:masters\n", Administrator, Administrator, Administrator)
	for _, u := range users {
		text = fmt.Appendf(text, "%s,%s,%s,%s\n", u.Name, u.Name, u.Name, u.Group)
	}
	return text
}

func writeKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return os.WriteFile(path, text, 0o600)
}

func writeKubeconfig(dir, url string) (string, error) {
	const text = `{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": %q, "insecure-skip-tls-verify": true}}],
"users": [{"name": "u", "user": {"token": %q}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}`
	path := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, fmt.Appendf(nil, text, url, Administrator), 0o600); err != nil {
		return "", err
	}
	_, err := clientcmd.LoadFromFile(path)
	return path, err
}

// FreePorts returns ports that nobody listened on a moment ago.
func FreePorts(n int) (ports []string, err error) {
	var listeners []net.Listener // all at once, so that no port comes twice
	for range n {
		l, listenErr := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends at once
		if listenErr != nil {
			err = listenErr
			break
		}
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		_, port, splitErr := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
		err = errors.Join(err, splitErr, l.Close())
	}
	return ports, err
}
