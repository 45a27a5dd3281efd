package main

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The figures of the language, measured beside seven trees that the field admires: of these 5 to 29 %
// of the unexported functions have names of one word, and hardly a comment is wider than 120 columns.
const (
	maxOneWord     = 25.0 // percent
	maxSharedNames = 25   // functions
	maxComment     = 120  // columns
	tabWidth       = 4
)

// languageFigures are of the names and comments of production files.
func (r repo) languageFigures() []figure {
	return []figure{
		r.oneWordNames(),
		r.sharedNames(),
		none(fmt.Sprintf("comment lines over %d columns", maxComment), r.wideComments(), "wrap comments at 100 columns"),
	}
}

// unexported returns the unexported functions and methods of production, as place and name, in the order of the files.
func (r repo) unexported() (places, names []string) {
	for _, f := range r.production() {
		for _, decl := range f.syntax.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || function.Name.IsExported() || function.Name.Name == "main" {
				continue
			}
			places = append(places, fmt.Sprintf("%s:%d %s", f.path, r.fset.Position(function.Pos()).Line, function.Name.Name))
			names = append(names, function.Name.Name)
		}
	}
	return places, names
}

// oneWordNames is the share of unexported functions whose name does not say what is done to what.
func (r repo) oneWordNames() figure {
	var short []string
	places, names := r.unexported()
	for i, name := range names {
		if !strings.ContainsFunc(name, func(c rune) bool { return unicode.IsUpper(c) || c == '_' }) {
			short = append(short, places[i])
		}
	}
	percent := 100 * float64(len(short)) / float64(max(1, len(names)))
	return figure{
		name: "unexported functions of one word", want: fmt.Sprintf("at most %.0f %%", maxOneWord),
		got: fmt.Sprintf("%.0f %% (%d of %d)", percent, len(short), len(names)),
		met: percent <= maxOneWord, advice: "name them by verb and object", places: short,
	}
}

// sharedNames counts the unexported functions whose name stands in more than one package.
func (r repo) sharedNames() figure {
	places, names := r.unexported()
	packages := map[string]map[string]bool{}
	for i, name := range names {
		file, _, _ := strings.Cut(places[i], ":")
		if packages[name] == nil {
			packages[name] = map[string]bool{}
		}
		packages[name][path.Dir(file)] = true
	}
	var shared []string
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if len(packages[name]) > 1 {
			shared = append(shared, name+": "+strings.Join(slices.Sorted(maps.Keys(packages[name])), ", "))
		}
	}
	return atMost("names of unexported functions in several packages", len(shared), maxSharedNames, "one name, one thing: give each its own, or make one of both", shared)
}

var commentLine = regexp.MustCompile(`^\s*//`)

func (r repo) wideComments() (places []string) {
	for _, f := range r.production() {
		number := 0
		for line := range strings.Lines(string(f.source)) {
			number++
			text := strings.TrimRight(strings.ReplaceAll(line, "\t", strings.Repeat(" ", tabWidth)), "\n")
			if commentLine.MatchString(line) && utf8.RuneCountInString(text) > maxComment {
				places = append(places, fmt.Sprintf("%s:%d", f.path, number))
			}
		}
	}
	return places
}
