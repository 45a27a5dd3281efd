package check_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
)

// canaryVolume is a directory with everything that a tenant may put in the way of a canary.
func canaryVolume(t *testing.T) string {
	t.Helper()
	dir, outside := t.TempDir(), t.TempDir()
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	at := func(name string) string { return filepath.Join(dir, name) }
	note(os.WriteFile(at("file"), []byte("x"), 0o600))
	note(os.WriteFile(at("empty"), nil, 0o600))
	note(os.WriteFile(filepath.Join(outside, "file"), []byte("x"), 0o600))
	note(os.MkdirAll(at("folder/below"), 0o700))
	note(os.Mkdir(at("huge"), 0o700))
	for i := range 2000 {
		note(os.WriteFile(at(fmt.Sprintf("huge/%0200d", i)), nil, 0o600))
	}
	note(syscall.Mkfifo(at("fifo"), 0o600))
	for link, to := range map[string]string{
		"link": "folder/../file", "folder-link": "folder", "out": outside + "/file", "up": "../../../../etc/passwd", "loop": "loop",
		"dangling": "nowhere", "magic": "/proc/self/exe", "absolute": at("file"),
	} {
		note(os.Symlink(to, at(link)))
	}
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCanary(t *testing.T) {
	w := startWorker(t)
	dir := canaryVolume(t)
	mount := w.probe(t, check.Request{Path: dir}).MountID
	healthy := proof{health: probes.Healthy}
	design := proof{health: probes.Broken, cause: probes.CauseCanaryFailed, byDesign: true}
	for _, row := range []struct {
		file, folder string
		want         proof
		errno        syscall.Errno
	}{
		{"file", "", healthy, 0},
		{"empty", "", healthy, 0},
		{"./folder/../file", "", healthy, 0},
		{"link", "folder-link", healthy, 0},
		{"file", "folder", healthy, 0},
		{"", "folder/below", healthy, 0},
		{"", "huge", healthy, 0},
		{"", ".", healthy, 0},
		{"none", "", design, syscall.ENOENT},
		{"file", "none", design, syscall.ENOENT},
		{"dangling", "", design, syscall.ENOENT},
		{"file/below", "", design, syscall.ENOTDIR},
		{"loop", "", design, syscall.ELOOP},
		{"folder", "", design, 0}, // of another type, as all that follow
		{"", "file", design, 0},
		{"fifo", "", design, 0},
		{"", "fifo", design, 0},
		{"out", "", proof{}, syscall.EXDEV},
		{"up", "", proof{}, syscall.EXDEV},
		{"absolute", "", proof{}, syscall.EXDEV},
		{"magic", "", proof{}, syscall.EXDEV},
		{"../x", "", proof{}, syscall.EXDEV},
		{"/etc/passwd", "", proof{}, syscall.EXDEV},
		{"a\x00b", "", proof{}, syscall.EINVAL},
	} {
		request := check.Request{Path: dir, MountID: mount, CanaryFile: row.file, CanaryDirectory: row.folder}
		a := w.probe(t, request)
		if got := proofOf(a); got != row.want || a.Errno != row.errno || a.Stage != check.StageCanary {
			t.Errorf("file %q, folder %q: %+v means %+v, want %+v", row.file, row.folder, a, got, row.want)
		}
	}
	w.requireNoOpenFiles(t)
}

// A device and a magic link of /proc are never opened.
func TestCanaryThatIsNoFile(t *testing.T) {
	w := startWorker(t)
	for volume, name := range map[string]string{"/dev": "null", "/proc": "self/cwd"} {
		mount := w.probe(t, check.Request{Path: volume}).MountID
		for _, r := range []check.Request{{CanaryFile: name}, {CanaryDirectory: name}} {
			r.Path, r.MountID = volume, mount
			a := w.probe(t, r)
			if a.Stage != check.StageCanary || !a.WrongType && a.Errno != syscall.ELOOP {
				t.Errorf("%+v: %+v", r, a)
			}
		}
	}
	w.requireNoOpenFiles(t)
}

// A canary is not read on the wrong mount, nor where only the mount is asked for.
func TestCanaryElsewhere(t *testing.T) {
	w := startWorker(t)
	dir := canaryVolume(t)
	mount := w.probe(t, check.Request{Path: dir}).MountID
	for _, id := range []uint64{0, mount + 1} {
		if a := w.probe(t, check.Request{Path: dir, MountID: id, CanaryFile: "none"}); a.Stage != check.StageIdentify || a.Errno != 0 {
			t.Errorf("expected on mount %d: %+v", id, a)
		}
	}
}
