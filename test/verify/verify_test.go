package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// clone is a repository that meets every figure, as path -> text.
func clone() map[string]string {
	return map[string]string{
		"go.mod":             "module example.com/m\n\ngo 1.26.0\n",
		"README.md":          "# M\n",
		"pkg/doc.go":         "// Package pkg is documented.\npackage pkg\n",
		"pkg/pkg.go":         "package pkg\n\n// F does nothing.\nfunc F() {}\n",
		"pkg/pkg_test.go":    "package pkg\n" + strings.Repeat("\n// A line.\n", 10),
		"cmd/m/main.go":      "// M is a program.\npackage main\n\nfunc main() {}\n",
		"test/tool/main.go":  "// Tool is a program.\npackage main\n\nfunc main() {}\n",
		".hidden/broken.go":  "not go\n",
		"testdata/broken.go": "not go\n",
	}
}

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// failing lists the names of the figures that are not met, with their places.
func failing(t *testing.T, files map[string]string) map[string][]string {
	t.Helper()
	r, err := load(write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	failed := map[string][]string{}
	for _, f := range r.figures() {
		if !f.met {
			failed[f.name] = f.places
		}
		if f.advice == "" || f.want == "" || f.got == "" {
			t.Errorf("figure without words: %+v", f)
		}
	}
	return failed
}

func TestASoundCloneMeetsEveryFigure(t *testing.T) {
	if failed := failing(t, clone()); len(failed) > 0 {
		t.Errorf("%v", failed)
	}
}

// A name may stand in many packages a few times; too many such names are counted, with where they stand.
func TestSharedNames(t *testing.T) {
	files := clone()
	for i := range maxSharedNames + 1 {
		text := fmt.Sprintf("\n\nfunc readPart%d() {}\n", i)
		files["pkg/pkg.go"] += text
		files["cmd/m/main.go"] += text
	}
	const name = "names of unexported functions in several packages"
	failed := failing(t, files)
	if len(failed[name]) != maxSharedNames+1 || failed[name][0] != "readPart0: cmd/m, pkg" {
		t.Errorf("%q", failed)
	}
	delete(files, "cmd/m/main.go")
	if failed := failing(t, files); failed[name] != nil {
		t.Errorf("names of one package alone: %q", failed[name])
	}
}

// functionOf is a function of so many lines.
func functionOf(name string, lines int) string {
	return fmt.Sprintf("\n// %s is long.\nfunc %s() {\n%s}\n", name, name, strings.Repeat("\t_ = 0\n", lines-2))
}

func functions(count, lines int) string {
	var all strings.Builder
	for i := range count {
		all.WriteString(functionOf(fmt.Sprintf("F%d", i), lines))
	}
	return all.String()
}

func TestEachFigureFails(t *testing.T) {
	const comment = "// A line.\n"
	tests := "package pkg\n\n" + strings.Repeat(comment, 5000)
	for name, tc := range map[string]struct {
		path, text string // "" removes the file
		figure     string
		place      string
	}{
		"long files":            {"pkg/pkg.go", "package pkg\n\n" + strings.Repeat(comment, 399), "largest production file", "pkg/pkg.go: 401 lines"},
		"long functions":        {"pkg/pkg.go", "package pkg\n" + functions(20, 13), "median function", "pkg/pkg.go:4 F0: 13 lines"},
		"some long functions":   {"pkg/pkg.go", "package pkg\n" + functions(4, 61), "functions over 60 lines", "pkg/pkg.go:4 F0: 61 lines"},
		"long main":             {"cmd/m/main.go", "// M is.\npackage main\n" + strings.ReplaceAll(functionOf("main", 61), "// main is long.\n", ""), "largest main()", "cmd/m/main.go:4 main: 61 lines"},
		"no package doc":        {"pkg/doc.go", "package pkg\n", "packages with no documentation", "pkg"},
		"program with no doc":   {"cmd/m/main.go", "package main\n\nfunc main() {}\n", "packages with no documentation", "cmd/m"},
		"test tool with no doc": {"test/tool/main.go", "package main\n\nfunc main() {}\n", "packages with no documentation", "test/tool"},
		"function":              {"pkg/pkg.go", "package pkg\n\nfunc F() {}\n", "exported names with no documentation", "pkg/pkg.go:3 F"},
		"method":                {"pkg/pkg.go", "package pkg\n\n// T is.\ntype T int\n\nfunc (t *T) M() {}\n", "exported names with no documentation", "pkg/pkg.go:6 M"},
		"generic method":        {"pkg/pkg.go", "package pkg\n\n// T is.\ntype T[A any] struct{}\n\nfunc (t *T[A]) M() {}\n", "exported names with no documentation", "pkg/pkg.go:6 M"},
		"method of two":         {"pkg/pkg.go", "package pkg\n\n// T is.\ntype T[A, B any] struct{}\n\nfunc (t T[A, B]) M() {}\n", "exported names with no documentation", "pkg/pkg.go:6 M"},
		"type":                  {"pkg/pkg.go", "package pkg\n\ntype T int\n", "exported names with no documentation", "pkg/pkg.go:3 T"},
		"type in a group":       {"pkg/pkg.go", "package pkg\n\n// The types.\ntype (\n\tT int\n)\n", "exported names with no documentation", "pkg/pkg.go:5 T"},
		"constant":              {"pkg/pkg.go", "package pkg\n\nconst C = 1\n", "exported names with no documentation", "pkg/pkg.go:3 C"},
		"variable":              {"pkg/pkg.go", "package pkg\n\nvar a, B int\n", "exported names with no documentation", "pkg/pkg.go:3 B"},
		"names of one word":     {"pkg/pkg.go", "package pkg\n\nfunc look() {}\n", "unexported functions of one word", "pkg/pkg.go:3 look"},
		"a method of one word":  {"pkg/pkg.go", "package pkg\n\ntype t int\n\nfunc (t) mend() {}\n", "unexported functions of one word", "pkg/pkg.go:5 mend"},
		"a wide comment":        {"pkg/pkg.go", "package pkg\n\n// " + strings.Repeat("x", 118) + "\n", "comment lines over 120 columns", "pkg/pkg.go:3"},
		"a wide indented one":   {"pkg/pkg.go", "package pkg\n\nvar _ = 0 +\n\t// " + strings.Repeat("x", 114) + "\n\t1\n", "comment lines over 120 columns", "pkg/pkg.go:4"},
		"few tests":             {"pkg/pkg_test.go", "package pkg\n", "lines of test for one of production", ""},
		"no readme":             {"README.md", "", "README.md", ""},
		"long readme":           {"README.md", strings.Repeat("x\n", 201), "README.md", ""},
		"gofmt":                 {"pkg/pkg.go", "package pkg\n\nvar  x int\n", "files that gofmt would change", "pkg/pkg.go"},
		"gofmt of tests":        {"test/tool/x.go", "package main\n\nvar  x int\n", "files that gofmt would change", "test/tool/x.go"},
		"replace":               {"go.mod", "module m\n\nreplace a => ../a\n", "replace directives in go.mod", "replace a => ../a"},
		"replace group":         {"go.mod", "module m\n\nreplace(\n\ta => ../a\n)\n", "replace directives in go.mod", "replace("},
	} {
		t.Run(name, func(t *testing.T) {
			files := clone()
			if tc.path != "pkg/pkg_test.go" {
				files["pkg/pkg_test.go"] = tests
			}
			files[tc.path] = tc.text
			if tc.text == "" {
				delete(files, tc.path)
			}
			failed := failing(t, files)
			places, ok := failed[tc.figure]
			if !ok {
				t.Fatalf("%q is met; failing are %v", tc.figure, failed)
			}
			if tc.place != "" && (len(places) == 0 || places[0] != tc.place) {
				t.Errorf("places %q, want %q first", places, tc.place)
			}
		})
	}
}

func TestMedianFile(t *testing.T) {
	files := clone()
	files["pkg/pkg_test.go"] = "package pkg\n\n" + strings.Repeat("// A line.\n", 5000)
	for _, name := range []string{"a", "b", "c", "d"} {
		files["pkg/"+name+".go"] = "package pkg\n\n" + strings.Repeat("// A line.\n", 119)
	}
	places, ok := failing(t, files)["median production file"]
	if !ok || len(places) == 0 || places[0] != "pkg/a.go: 121 lines" {
		t.Errorf("places %q", places)
	}
}

func TestWhatIsNotCounted(t *testing.T) {
	for name, text := range map[string][2]string{
		"generated code":      {"pkg/gen.go", "// Code generated by x. DO NOT EDIT.\n\npackage pkg\n" + functions(20, 100)},
		"programs for tests":  {"test/tool/big.go", "package main\n" + functions(20, 100)},
		"test files":          {"pkg/big_test.go", "package pkg\n" + functions(20, 100)},
		"unexported receiver": {"pkg/pkg.go", "package pkg\n\ntype t int\n\nfunc (t t) String() string { return \"\" }\n"},
		"documented group":    {"pkg/pkg.go", "package pkg\n\n// The names.\nconst (\n\tA = 1\n\tB = 2\n)\n"},
		"comment behind":      {"pkg/pkg.go", "package pkg\n\nconst (\n\tA = 1 // the first\n)\n"},
		"word in go.mod":      {"go.mod", "module m\n\n// replace nothing\nrequire replace.example v1.0.0\n"},
	} {
		files := clone()
		files[text[0]] = text[1]
		if failed := failing(t, files); len(failed) > 0 {
			t.Errorf("%s: %v", name, failed)
		}
	}
}

func TestTableAndAdvice(t *testing.T) {
	files := clone()
	var out strings.Builder
	if met, err := verify(write(t, files), &out); err != nil || !met || strings.Contains(out.String(), "FAILS") {
		t.Errorf("met %v, %v\n%s", met, err, out.String())
	}
	files["pkg/pkg.go"] = "package pkg\n\nfunc F() {}\n"
	out.Reset()
	met, err := verify(write(t, files), &out)
	if err != nil || met {
		t.Fatalf("met %v, %v", met, err)
	}
	for _, want := range []string{"FAILS", "exported names with no documentation: say what it is", "  pkg/pkg.go:3 F\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("does not say %q:\n%s", want, out.String())
		}
	}
}

// failingWriter takes so many bytes and no more.
type failingWriter struct{ room int }

var errFull = errors.New("full")

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWritersMayFail(t *testing.T) {
	failed := []figure{{name: "f", want: "1", got: "0", advice: "do", places: []string{"here"}}}
	for room := range 40 {
		if _, err := show(&failingWriter{room}, failed); err != nil && !errors.Is(err, errFull) {
			t.Errorf("room for %d bytes: %v", room, err)
		} else if err == nil {
			t.Errorf("room for %d bytes was enough", room)
		}
	}
	if met, err := show(io.Discard, failed); met || err != nil {
		t.Errorf("met %v, %v", met, err)
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for name, change := range map[string]func(map[string]string){
		"broken Go":           func(f map[string]string) { f["pkg/x.go"] = "package\n" },
		"no go.mod":           func(f map[string]string) { delete(f, "go.mod") },
		"README.md, a folder": func(f map[string]string) { delete(f, "README.md"); f["README.md/x"] = "" },
	} {
		files := clone()
		change(files)
		if _, err := verify(write(t, files), io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := load(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("missing folder: no error")
	}
}

func TestEmptyCloneHasNoFigures(t *testing.T) {
	if median(nil) != 0 || biggest(nil) != 0 || largest(nil) != nil {
		t.Error("nothing has a size")
	}
}
