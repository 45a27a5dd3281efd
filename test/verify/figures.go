package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"slices"
	"strings"
)

// The figures to live within, in lines unless said otherwise.
const (
	maxMedianFile     = 120
	maxFile           = 400
	maxMedianFunction = 12
	longFunction      = 60
	maxLongFunctions  = 3.0 // percent
	maxMain           = 60
	minTestRatio      = 1.5
	maxReadme         = 200
)

// figure is one line of the table, and what to do when it is not met.
type figure struct {
	name, want, got string
	met             bool
	advice          string
	places          []string
}

// sized is something with a place and a number of lines.
type sized struct {
	place string
	lines int
}

func (r repo) figures() []figure {
	files, functions := r.fileSizes(), r.functionSizes()
	return append([]figure{
		atMost("median production file", median(files), maxMedianFile, "split the largest files by purpose", largest(files)),
		atMost("largest production file", biggest(files), maxFile, "split it by purpose", over(files, maxFile)),
		atMost("median function", median(functions), maxMedianFunction, "name the parts of the longest functions", largest(functions)),
		longFunctions(functions),
		r.mains(),
		none("packages with no documentation", r.undocumentedPackages(), `write a doc.go that starts with "Package NAME" or, for a program, its name`),
		none("exported names with no documentation", r.undocumentedNames(), "say what it is, its units, its errors and where it comes from; or do not export it"),
		r.testRatio(),
		r.readmeSize(),
		none("files that gofmt would change", r.unformatted(), "run gofmt -w on them"),
		none("replace directives in go.mod", r.replaces(), "release what is replaced; a replaced module cannot be installed with go install"),
	}, r.languageFigures()...)
}

func atMost(name string, got, limit int, advice string, places []string) figure {
	return figure{name: name, want: fmt.Sprintf("at most %d", limit), got: fmt.Sprint(got), met: got <= limit, advice: advice, places: places}
}

func none(name string, places []string, advice string) figure {
	return figure{name: name, want: "0", got: fmt.Sprint(len(places)), met: len(places) == 0, advice: advice, places: places}
}

func (r repo) fileSizes() []sized {
	var sizes []sized
	for _, f := range r.production() {
		sizes = append(sizes, sized{f.path, f.lines()})
	}
	return sizes
}

func (r repo) functionSizes() []sized {
	var sizes []sized
	for _, f := range r.production() {
		for _, decl := range f.syntax.Decls {
			if function, ok := decl.(*ast.FuncDecl); ok {
				sizes = append(sizes, r.size(f, function))
			}
		}
	}
	return sizes
}

func (r repo) size(f file, function *ast.FuncDecl) sized {
	from, to := r.fset.Position(function.Pos()).Line, r.fset.Position(function.End()).Line
	return sized{fmt.Sprintf("%s:%d %s", f.path, from, function.Name.Name), to - from + 1}
}

func longFunctions(functions []sized) figure {
	long := over(functions, longFunction)
	percent := 100 * float64(len(long)) / float64(max(1, len(functions)))
	return figure{
		name: fmt.Sprintf("functions over %d lines", longFunction),
		want: fmt.Sprintf("at most %.1f %%", maxLongFunctions), got: fmt.Sprintf("%.1f %% (%d of %d)", percent, len(long), len(functions)),
		met: percent <= maxLongFunctions, advice: "name their parts", places: long,
	}
}

// mains looks at the main function of every production program.
func (r repo) mains() figure {
	var mains []sized
	for _, f := range r.production() {
		for _, decl := range f.syntax.Decls {
			if function, ok := decl.(*ast.FuncDecl); ok && f.syntax.Name.Name == "main" && function.Recv == nil && function.Name.Name == "main" {
				mains = append(mains, r.size(f, function))
			}
		}
	}
	return atMost("largest main()", biggest(mains), maxMain, "main wires; move the rest to where it belongs", over(mains, maxMain))
}

// testRatio compares all lines of tests, and of what only tests use, with all lines of production.
func (r repo) testRatio() figure {
	tests, production := 0, 0
	for _, f := range r.files {
		switch {
		case f.generated:
		case f.test:
			tests += f.lines()
		default:
			production += f.lines()
		}
	}
	ratio := float64(tests) / float64(max(1, production))
	return figure{
		name: "lines of test for one of production", want: fmt.Sprintf("at least %.1f", minTestRatio),
		got: fmt.Sprintf("%.2f (%d to %d)", ratio, tests, production), met: ratio >= minTestRatio, advice: "test what is not: go test -cover ./...",
	}
}

func (r repo) readmeSize() figure {
	f := atMost("README.md", r.readme, maxReadme, "write one, of what a newcomer needs; the rest belongs in docs/", nil)
	f.met = f.met && r.readme > 0
	return f
}

func (r repo) unformatted() []string {
	var places []string
	for _, f := range r.files {
		formatted, err := format.Source(f.source)
		if err != nil || !bytes.Equal(formatted, f.source) {
			places = append(places, f.path)
		}
	}
	return places
}

func (r repo) replaces() []string {
	var places []string
	for line := range strings.Lines(string(r.goMod)) {
		if words := strings.Fields(line); len(words) > 0 && strings.TrimSuffix(words[0], "(") == "replace" {
			places = append(places, strings.TrimSpace(line))
		}
	}
	return places
}

// median returns the lower median, and 0 of nothing.
func median(all []sized) int {
	if len(all) == 0 {
		return 0
	}
	return descending(all)[len(all)/2].lines
}

func biggest(all []sized) int {
	if len(all) == 0 {
		return 0
	}
	return descending(all)[0].lines
}

// largest names the first ten by size.
func largest(all []sized) []string {
	return places(descending(all)[:min(10, len(all))])
}

// over names those with more lines than a limit, the largest first.
func over(all []sized, limit int) []string {
	return places(slices.DeleteFunc(descending(all), func(s sized) bool { return s.lines <= limit }))
}

func places(all []sized) []string {
	var texts []string
	for _, s := range all {
		texts = append(texts, fmt.Sprintf("%s: %d lines", s.place, s.lines))
	}
	return texts
}

// descending returns a sorted copy, the largest first.
func descending(all []sized) []sized {
	return slices.SortedStableFunc(slices.Values(all), func(a, b sized) int { return b.lines - a.lines })
}
