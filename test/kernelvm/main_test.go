package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestChosen(t *testing.T) {
	all, err := chosen(nil)
	if err != nil || len(all) != len(kernels()) {
		t.Errorf("%d of %d, %v", len(all), len(kernels()), err)
	}
	some, err := chosen([]string{"7.3", "5.10"})
	if err != nil || len(some) != 2 || some[0].series != "7.3" {
		t.Errorf("%+v, %v", some, err)
	}
	if _, err := chosen([]string{"6.2"}); err == nil || !strings.Contains(err.Error(), "5.10, 6.1, 6.12, 7.3") {
		t.Errorf("%v", err)
	}
	if _, err := chosenSuites("lab,none"); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("%v", err)
	}
	if some, err := chosenSuites("proc"); err != nil || len(some) != 1 {
		t.Errorf("%+v, %v", some, err)
	}
}

func TestNamedTestsRunOnce(t *testing.T) {
	got := once(suites())
	if len(got) != len(suites())-1 || got[0].name != "lab" || got[0].skip != "" || slices.ContainsFunc(got, func(s suite) bool { return s.name == "nfs" }) {
		t.Errorf("%+v", got)
	}
	nfs, err := chosenSuites("nfs")
	if err != nil || len(once(nfs)) != 1 {
		t.Errorf("%+v, %v", nfs, err)
	}
}

func TestUpdateNeedsAllTests(t *testing.T) {
	for _, o := range []options{{run: "TestX"}, {run: all, only: "lab"}} {
		o.update = true
		if err := o.prepare(nil); err == nil || !strings.Contains(err.Error(), "-update") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestPackages(t *testing.T) {
	old, err := find("6.1")
	if err != nil {
		t.Fatal(err)
	}
	if got := old.packages("linux-image-6.1.0-1-cloud-amd64"); !slices.Equal(got, []string{"linux-image-6.1.0-1-cloud-amd64"}) {
		t.Errorf("%v", got)
	}
	young, err := find("7.3")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"}
	if got := young.packages(want[0]); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestTheCacheIsThatOfTheOtherTests(t *testing.T) {
	for _, env := range [][2]string{{"MOUNTWARDEN_CACHE", "/c"}, {"XDG_CACHE_HOME", "/x"}} {
		t.Setenv("MOUNTWARDEN_CACHE", "")
		t.Setenv(env[0], env[1])
		dir, err := defaultCache()
		if err != nil || !strings.HasPrefix(dir, env[1]) || filepath.Base(dir) != "kernelvm" {
			t.Errorf("%v: %s, %v", env, dir, err)
		}
	}
}

// What is in the cache is used without a look at the network, and nothing that is half there gets its name.
func TestCache(t *testing.T) {
	c := &cache{dir: t.TempDir(), progress: io.Discard}
	left := filepath.Join(c.dir, halfPrefix+"1")
	if err := os.Mkdir(left, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := c.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed run has left is there: %v", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.lock(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locked twice: %v", err)
	}
	there := filepath.Join(c.dir, "there")
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := c.folder(t.Context(), "there", func(string) error { return errors.New("asked") }); err != nil || got != there {
		t.Errorf("%s, %v", got, err)
	}
	t.Setenv("PATH", t.TempDir()) // no apt
	if _, err := c.folder(context.Background(), "none", func(string) error { return nil }); err == nil {
		t.Error("fetched without an apt")
	}
	if _, err := os.Stat(filepath.Join(c.dir, "none")); err == nil {
		t.Error("a folder that is not complete has its name")
	}
}
