package webdav_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/test/internal/webdav"
)

func TestMain(m *testing.M) {
	webdav.MainIfChild()
	os.Exit(m.Run())
}

func start(t *testing.T, root, address string) *webdav.Server {
	t.Helper()
	s, err := webdav.Start(root, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() })
	return s
}

func read(url string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

func TestKilledAndStartedAgain(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "canary"), []byte("tweet"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, root, "127.0.0.1:0")
	for range 2 {
		if text, err := read(s.URL() + "/canary"); err != nil || text != "tweet" {
			t.Errorf("canary: %q, %v", text, err)
		}
		for range 2 {
			if err := s.Kill(); err != nil {
				t.Error(err)
			}
		}
		if _, err := read(s.URL() + "/canary"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("killed: %v, want a refused connection", err)
		}
		s = start(t, root, s.Address())
	}
}

func TestListsDirectories(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "songs"), 0o700); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest("PROPFIND", start(t, root, "127.0.0.1:0").URL(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Depth", "1")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusMultiStatus || !strings.Contains(string(text), "/songs/") {
		t.Errorf("%s, %v: %s", response.Status, err, text)
	}
}

func TestAddressInUse(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	if other, err := webdav.Start(t.TempDir(), s.Address()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, %v, want an error that says why", other, err)
	}
}
