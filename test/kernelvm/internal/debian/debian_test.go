package debian

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestArchiveOf(t *testing.T) {
	for name, row := range map[string]struct {
		targets string
		want    archive
	}{
		"a Debian":           {"http://m/debian/ main\nhttp://m/debian/ main\nhttp://s/debian-security/ main\n", archive{"http://m/debian", "http://s/debian-security"}},
		"no security":        {"http://m/debian main\n", archive{"http://m/debian", "http://m/debian-security"}},
		"the first one":      {"http://a/debian main\nhttp://b/debian main\n", archive{"http://a/debian", "http://a/debian-security"}},
		"an Ubuntu":          {"http://u/ubuntu/ main\nhttp://u/ubuntu/ universe\n", archive{}},
		"others for Debian":  {"https://d/linux/debian/ stable\nhttps://p/apt main\n", archive{}},
		"nothing":            {"", archive{}},
		"without a security": {"http://s/debian-security/ main\n", archive{"", "http://s/debian-security"}},
	} {
		if got := archiveOf(row.targets); got != row.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestNewest(t *testing.T) {
	re := regexp.MustCompile(`^linux-image-6\.1\.0-\d+-cloud-amd64$`)
	names := []string{
		"linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-48-cloud-amd64",
		"linux-image-6.1.0-99-cloud-amd64-dbg", "linux-image-6.12.0-99-cloud-amd64",
	}
	if got := newest(names, re); got != names[1] {
		t.Errorf("%s", got)
	}
	if got := newest(nil, re); got != "" {
		t.Errorf("%q of nothing", got)
	}
}

func TestSources(t *testing.T) {
	text := archive{"http://m/debian", "http://s/debian-security"}.sources("/keys.gpg")
	for _, want := range []string{
		"URIs: http://m/debian\nSuites: bookworm bookworm-backports trixie-backports\n",
		"URIs: http://s/debian-security\nSuites: bookworm-security bullseye-security\n", "Signed-By: /keys.gpg\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
}

// fakeApt puts programs in the place of apt's, that note how they were called, and do as told.
func fakeApt(t *testing.T, script string) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	for _, name := range []string{"apt-get", "apt-cache", "dpkg"} {
		text := "#!/bin/sh\necho \"" + name + " $*\" >> " + calls + "\n" + script + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	return calls
}

func TestOpenWithTheHostsMirror(t *testing.T) {
	calls := fakeApt(t, `case "$*" in *indextargets*) echo "http://m/debian/ main";; esac`)
	t.Setenv(mirrorEnv, "")
	dir := t.TempDir()
	if _, err := Open(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "etc/debian.sources"))
	if err != nil || !strings.Contains(string(text), "http://m/debian-security") {
		t.Errorf("%s, %v", text, err)
	}
	said, err := os.ReadFile(calls)
	if err != nil || !strings.HasSuffix(string(said), "apt-get update\n") {
		t.Errorf("%s, %v", said, err)
	}
}

func TestOpenInVain(t *testing.T) {
	fakeApt(t, "exit 0")
	t.Setenv(mirrorEnv, "")
	_, err := Open(context.Background(), t.TempDir())
	if !errors.Is(err, ErrHost) || !strings.Contains(err.Error(), mirrorEnv) {
		t.Errorf("no mirror: %v", err)
	}
	fakeApt(t, "echo the mirror is away >&2; exit 100")
	t.Setenv(mirrorEnv, "http://m/")
	_, err = Open(context.Background(), t.TempDir())
	if !errors.Is(err, ErrHost) || !strings.Contains(err.Error(), "the mirror is away") {
		t.Errorf("mirror away: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	_, err = Open(context.Background(), t.TempDir())
	if !errors.Is(err, ErrHost) || !strings.Contains(err.Error(), "apt-get is not there") {
		t.Errorf("no apt: %v", err)
	}
}

func TestDownload(t *testing.T) {
	calls := fakeApt(t, `case "$*" in *download*) touch a.deb b.deb;; esac`)
	r := &Root{dir: t.TempDir()}
	to := filepath.Join(t.TempDir(), "to")
	if err := r.Unpack(context.Background(), to, "a", "b"); err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(calls)
	if err != nil || strings.Count(string(said), "dpkg --extract") != 2 || !strings.Contains(string(said), "apt-get download a b") {
		t.Errorf("%s, %v", said, err)
	}
	left, err := os.ReadDir(r.dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	fakeApt(t, "exit 0")
	if err := r.UnpackAll(context.Background(), to, Bookworm, "a"); !errors.Is(err, ErrNone) {
		t.Errorf("nothing downloaded: %v", err)
	}
	if _, err := r.Newest(context.Background(), "linux-none"); !errors.Is(err, ErrNone) {
		t.Errorf("no such package: %v", err)
	}
	if _, err := r.Newest(context.Background(), "("); err == nil {
		t.Error("no error for a pattern that is none")
	}
}
