package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNewLayout(t *testing.T) {
	for _, c := range []struct {
		instance, cache string
		ok              bool
	}{
		{"mountwarden", "/home/u/.cache/mountwarden", true},
		{"a", "relative", true},
		{"test-1", "/runner", true}, // not below /run
		{"test-1", "/var/libs", true},
		{strings.Repeat("a", 40), "/c", true},
		{strings.Repeat("a", 41), "/c", false},
		{"", "/c", false},
		{"Upper", "/c", false},
		{"-a", "/c", false},
		{"a-", "/c", false},
		{"a/b", "/c", false},
		{"..", "/c", false},
		{"a", "/run", false},
		{"a", "/run/user/0", false},
		{"a", "/var/lib/x/../y", false},
		{"a", "/var/log/x", false},
	} {
		l, err := NewLayout(c.instance, c.cache)
		if (err == nil) != c.ok || (err != nil && !errors.Is(err, ErrLayout)) {
			t.Errorf("%q in %q: %v", c.instance, c.cache, err)
		}
		if err == nil && !filepath.IsAbs(l.Dir()) {
			t.Errorf("%q in %q: %s", c.instance, c.cache, l.Dir())
		}
	}
}

func TestInstancesShareNothingButTools(t *testing.T) {
	paths := func(name string) []string {
		l, err := NewLayout(name, "/c")
		if err != nil {
			t.Fatal(err)
		}
		return []string{l.Dir(), l.Lock(), l.Logs(), l.Bin(), l.Images(), l.Kubelet(), l.Covered(), l.Kubeconfig(), "cgroup " + l.Cgroup()}
	}
	seen := map[string]bool{}
	for _, p := range append(paths("one"), paths("two")...) {
		if seen[p] {
			t.Errorf("%s is used twice", p)
		}
		seen[p] = true
	}
}

func TestDefaultCache(t *testing.T) {
	for _, c := range []struct{ own, xdg, home, want string }{
		{"/own", "/xdg", "/home/u", "/own"},
		{"", "/xdg", "/home/u", "/xdg/mountwarden"},
		{"", "", "/home/u", "/home/u/.cache/mountwarden"},
	} {
		t.Setenv("MOUNTWARDEN_CACHE", c.own)
		t.Setenv("XDG_CACHE_HOME", c.xdg)
		t.Setenv("HOME", c.home)
		if got, err := DefaultCache(); err != nil || got != c.want {
			t.Errorf("%+v: got %s, %v", c, got, err)
		}
	}
}

func TestHomeWithoutHOME(t *testing.T) {
	t.Setenv("HOME", "")
	if err := os.Unsetenv("HOME"); err != nil {
		t.Fatal(err)
	}
	if home, err := Home(); err != nil || !filepath.IsAbs(home) {
		t.Errorf("got %q, %v", home, err)
	}
}
