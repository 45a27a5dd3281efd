package faultfs_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

// shell runs a script in a child process whose working directory is the mount.
func shell(t *testing.T, s *faultfs.Server, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-ec", script)
	cmd.Dir = s.Mountpoint()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestWritableEnough(t *testing.T) {
	s := newServer(t)
	for name, c := range map[string]struct{ script, want string }{
		"create":    {"echo new >f; cat f; rm f", "new\n"},
		"append":    {"echo a >f; echo b >>f; cat f; rm f", "a\nb\n"},
		"truncate":  {"echo long >f; : >f; cat f; rm f", ""},
		"rename":    {"echo x >f; mv f g; cat g; test ! -e f; rm g", "x\n"},
		"nest":      {"mkdir -p a/b; echo deep >a/b/f; cat a/b/f; rm -r a; test ! -e a", "deep\n"},
		"mode":      {"mkdir m; chmod 751 m; chown 7:8 m; stat -c '%a %u %g' m; rmdir m", "751 7 8\n"},
		"links":     {"stat -c %h . canary", "2\n1\n"},
		"overwrite": {"echo other >canary; cat canary; printf tweet >canary", "other\n"},
		"space":     {"stat -f -c '%b %S' .", "16384 4096\n"},
	} {
		if got, err := shell(t, s, c.script); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
	expectTouch(t, "list", s.Mountpoint(), "canary")
}

func TestRmdirKeepsADirectoryInUse(t *testing.T) {
	s := newServer(t)
	if out, err := shell(t, s, "mkdir d; echo x >d/f; rmdir d"); err == nil {
		t.Errorf("rmdir of a directory in use worked: %q", out)
	}
	if got, err := shell(t, s, "cat d/f"); err != nil || got != "x\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestReadOnly(t *testing.T) {
	s := newServer(t, func(o *faultfs.StartOptions) { o.ReadOnly = true })
	expectTouch(t, "read", canary(s), "tweet")
	expectTouch(t, "mkdir", filepath.Join(s.Mountpoint(), "new"), "EROFS")
}

func TestOwnerOnlyAndSourceShowInMountinfo(t *testing.T) {
	for _, ownerOnly := range []bool{false, true} {
		s := newServer(t, func(o *faultfs.StartOptions) { o.OwnerOnly, o.Source = ownerOnly, "bucket" })
		line := mountinfoLine(t, s)
		if !strings.Contains(line, " - "+faultfs.FSType+" bucket ") {
			t.Errorf("mount %q, want type %s and source bucket", line, faultfs.FSType)
		}
		if strings.Contains(line, "allow_other") == ownerOnly {
			t.Errorf("ownerOnly %t: mount %q", ownerOnly, line)
		}
	}
}

func TestAnothersMountRefusesRoot(t *testing.T) {
	s := newServer(t, func(o *faultfs.StartOptions) { o.OwnerOnly, o.Owner = true, 1000 })
	if line := mountinfoLine(t, s); !strings.Contains(line, "user_id=1000,group_id=1000") {
		t.Errorf("mount %q", line)
	}
	expectTouch(t, "list", s.Mountpoint(), "EACCES")
	expectTouch(t, "read", canary(s), "EACCES")
	shared := newServer(t, func(o *faultfs.StartOptions) { o.Owner = 1000 })
	expectTouch(t, "read", canary(shared), "tweet")
}

func mountinfoLine(t *testing.T, s *faultfs.Server) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, " "+s.Mountpoint()+" ") {
			return line
		}
	}
	t.Fatalf("%s is not mounted", s.Mountpoint())
	return ""
}
