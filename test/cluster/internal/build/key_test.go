package build

import (
	"path/filepath"
	"reflect"
	"testing"
)

func TestKeyChangesWithEverythingThatMatters(t *testing.T) {
	b, _ := newBuilder(t, helloProgram)
	file := func(name string) string { return filepath.Join(b.Modules, "greeting", name) }
	key := func(tool Tool) string {
		t.Helper()
		r, err := newRecipe(b.Modules, tool)
		if err != nil {
			t.Fatal(err)
		}
		return r.key
	}
	first := key(hello())
	if again := key(hello()); again != first {
		t.Fatalf("the same input gives %s and %s", first, again)
	}
	seen := map[string]string{first: "nothing"}
	differs := func(what string, tool Tool) {
		t.Helper()
		k := key(tool)
		if other, ok := seen[k]; ok {
			t.Errorf("a change of %s has the key of a change of %s", what, other)
		}
		seen[k] = what
	}
	tagged := hello()
	tagged.Tags = "tag"
	differs("tags", tagged)
	write(t, file("go.sum"), "example.test/x v1.0.0 h1:x\n")
	differs("go.sum", hello())
	write(t, file("go.sum"), "")
	write(t, file("go.mod"), "module example.test/greeting\n\ngo 1.26.1\n")
	differs("go.mod", hello())
	// The same text, cut elsewhere.
	write(t, file("go.mod"), "module example.test/greeting\n")
	write(t, file("go.sum"), "\ngo 1.26.1\n")
	differs("the border of go.mod and go.sum", hello())
}

func TestKeyNeedsThePins(t *testing.T) {
	if _, err := newRecipe(t.TempDir(), hello()); err == nil {
		t.Error("no error where there is no go.mod")
	}
}

func TestFlags(t *testing.T) {
	const gomod = "require (\n\tk8s.io/api v0.40.0\n\tk8s.io/kubernetes v1.40.7\n)\n"
	for _, c := range []struct {
		tool string
		want []string
	}{
		{"helm", []string{"-trimpath", "-ldflags", "-s -w"}},
		{"containerd", []string{"-trimpath", "-tags", "no_btrfs no_devmapper no_zfs", "-ldflags", "-s -w"}},
		{"kubelet", []string{"-trimpath", "-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=v1.40.7" +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=40"}},
	} {
		tools, err := Find(c.tool)
		if err != nil {
			t.Fatal(err)
		}
		got, err := flags(tools[0], []byte(gomod))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %q, %v", c.tool, got, err)
		}
	}
}

func TestKubernetesVersion(t *testing.T) {
	for _, c := range []struct{ gomod, version, major, minor string }{
		{"require k8s.io/kubernetes v1.37.2\n", "v1.37.2", "1", "37"},
		{"\tk8s.io/kubernetes v1.38.0-rc.1 // indirect\n", "v1.38.0-rc.1", "1", "38"},
		{"\tk8s.io/kubernetes-x v1.2.3\n\tk8s.io/kubernetes v2.4.6\n", "v2.4.6", "2", "4"},
		{"\tk8s.io/api v0.37.2\n", "", "", ""},
		{"", "", "", ""},
	} {
		version, major, minor, err := kubernetesVersion([]byte(c.gomod))
		if version != c.version || major != c.major || minor != c.minor || (err == nil) != (c.version != "") {
			t.Errorf("%q: got %s %s %s %v", c.gomod, version, major, minor, err)
		}
	}
}
