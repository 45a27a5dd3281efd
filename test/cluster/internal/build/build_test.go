package build

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hello is a program in a module of its own that needs no network.
func hello() Tool { return Tool{Name: "hello", Module: "greeting", Package: "example.test/greeting"} }

// newBuilder has a tools folder with that module, and an empty cache.
func newBuilder(t *testing.T, program string) (Builder, *bytes.Buffer) {
	t.Helper()
	modules, said := t.TempDir(), &bytes.Buffer{}
	dir := filepath.Join(modules, "greeting")
	write(t, filepath.Join(dir, "go.mod"), "module example.test/greeting\n\ngo 1.26.0\n")
	write(t, filepath.Join(dir, "go.sum"), "")
	write(t, filepath.Join(dir, "main.go"), program)
	home, err := os.UserHomeDir()
	if err != nil {
		home = t.TempDir()
	}
	return Builder{Modules: modules, Cache: filepath.Join(t.TempDir(), "cache"), Home: home, Progress: said}, said
}

const helloProgram = `package main

func main() { println("hello") }
`

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBuildOnceThenFromTheCache(t *testing.T) {
	b, said := newBuilder(t, helloProgram)
	paths, err := b.Build(context.Background(), hello())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(paths["hello"]).CombinedOutput()
	if err != nil || string(out) != "hello\n" {
		t.Fatalf("the program says %q, %v", out, err)
	}
	if !strings.Contains(said.String(), "building hello (1 of 1)\n") || !strings.Contains(said.String(), "took") {
		t.Errorf("progress: %q", said)
	}
	said.Reset()
	t.Setenv("PATH", t.TempDir()) // no go command: it must not be needed
	again, err := b.Build(context.Background(), hello())
	if err != nil || again["hello"] != paths["hello"] || said.Len() > 0 {
		t.Errorf("second build: %v, %v, progress %q", again, err, said)
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	b, _ := newBuilder(t, "package main\n\nfunc main() { undefinedThing() }\n")
	_, err := b.Build(context.Background(), hello())
	if err == nil || !strings.Contains(err.Error(), "undefinedThing") {
		t.Fatalf("the compiler's words are missing: %v", err)
	}
	mustBeEmpty(t, b)
}

func TestInterruptedBuildLeavesNothing(t *testing.T) {
	b, _ := newBuilder(t, helloProgram)
	// A go command that never ends, in place of the real one.
	bin := t.TempDir()
	write(t, filepath.Join(bin, "go"), "#!/bin/sh\n: > "+bin+"/started\nexec sleep 3600\n")
	if err := os.Chmod(filepath.Join(bin, "go"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var build sync.WaitGroup
	build.Go(func() {
		if _, err := b.Build(ctx, hello()); err == nil {
			t.Error("no error")
		}
	})
	eventually(t, func() bool { _, err := os.Stat(filepath.Join(bin, "started")); return err == nil })
	cancel()
	build.Wait()
	mustBeEmpty(t, b)
}

// mustBeEmpty allows the lock and empty folders.
func mustBeEmpty(t *testing.T, b Builder) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(b.Cache, "*", "*"))
	hidden, err2 := filepath.Glob(filepath.Join(b.Cache, "*", ".*"))
	if err := errors.Join(err, err2); err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("left in the cache: %v %v %v", left, hidden, err)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it never happened")
		}
	}
}

// lines is written to by one goroutine and read by another.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), s)
}

func TestProgressGoesOn(t *testing.T) {
	said := &lines{}
	done := Builder{Progress: said, Every: time.Millisecond}.report("x (2 of 3)")
	eventually(t, func() bool { return said.count("building x (2 of 3), 0s so far\n") >= 3 })
	done()
	before := said.count("\n")
	if said.count("took") != 1 || said.count("\n") != before {
		t.Errorf("progress: %q", said.text.String())
	}
}

func TestModulesAreFoundFromBelow(t *testing.T) {
	root := t.TempDir()
	tools := filepath.Join(root, "test", "tools")
	write(t, filepath.Join(tools, "kubernetes", "go.mod"), "")
	for _, from := range []string{root, filepath.Join(root, "test"), filepath.Join(root, "a", "b"), filepath.Join(tools, "x")} {
		if got, err := FindModules(from); err != nil || got != tools {
			t.Errorf("from %s: %s, %v", from, got, err)
		}
	}
	if _, err := FindModules(t.TempDir()); !errors.Is(err, ErrNoTools) {
		t.Errorf("where there are none: %v", err)
	}
}

func TestFind(t *testing.T) {
	found, err := Find("helm", "etcd")
	if err != nil || len(found) != 2 || found[0].Name != "helm" || found[1].Name != "etcd" {
		t.Errorf("got %v, %v", found, err)
	}
	_, err = Find("etcd", "docker", "etdc")
	if !errors.Is(err, ErrUnknownTool) || !strings.Contains(err.Error(), "docker, etdc; there are containerd, ") {
		t.Errorf("got %v", err)
	}
}

func TestCatalogIsPinned(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	modules, err := FindModules(here)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range Catalog() {
		gomod, err := os.ReadFile(filepath.Join(modules, tool.Module, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		directive := slices.ContainsFunc(strings.Split(string(gomod), "\n"), func(line string) bool {
			return strings.TrimPrefix(strings.TrimSpace(line), "tool ") == tool.Package
		})
		if !directive {
			t.Errorf("%s: %s is not a tool of module %s", tool.Name, tool.Package, tool.Module)
		}
	}
	var others []string
	for _, tool := range Catalog() {
		if !slices.Contains(ForCluster(), tool) {
			others = append(others, tool.Name)
		}
	}
	if !slices.Equal(others, []string{"prometheus", "golangci-lint"}) {
		t.Errorf("a cluster needs all but %q", others)
	}
}
