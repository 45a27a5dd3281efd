package controllers_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/controllers"
)

// listConstants returns the constants of a file of this package whose names start with a prefix.
func listConstants(t *testing.T, file, prefix string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			if found[spec.Names[0].Name], err = strconv.Unquote(literal.Value); err != nil {
				t.Fatal(err)
			}
		}
		return true
	})
	if len(found) == 0 {
		t.Fatalf("%s has no constant %s...", file, prefix)
	}
	return found
}

func TestHoldsListsAll(t *testing.T) {
	named := listConstants(t, "reasons.go", "Held")
	delete(named, "HeldNone")
	listed := map[string]bool{}
	for _, h := range controllers.Holds() {
		listed[string(h)] = true
	}
	for name, value := range named {
		if !listed[value] {
			t.Errorf("%s is not listed", name)
		}
	}
	if len(listed) != len(named) {
		t.Errorf("%d are listed, %d there", len(listed), len(named))
	}
}

// Every reason in an event is in the documentation, with what to do.
func TestEveryReasonIsDocumented(t *testing.T) {
	for _, tc := range []struct{ file, prefix, document string }{
		{"reasons.go", "Held", "../docs/remediation.md"},
		{"reasons.go", "Held", "../README.md"},
		{"remediation.go", "Aftermath", "../docs/remediation.md"},
	} {
		text, err := os.ReadFile(tc.document)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range listConstants(t, tc.file, tc.prefix) {
			if value != "" && !strings.Contains(string(text), "`"+value+"`") {
				t.Errorf("%s does not tell of %s, %q", tc.document, name, value)
			}
		}
	}
}
