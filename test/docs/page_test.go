package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

const root = "../.."

// page is a document.
type page struct {
	path     string // from the root of the repository
	headings []heading
	blocks   []block
	links    []link
	codes    []code
	words    string // all of its text
}

type heading struct {
	level  int
	text   string
	anchor string
}

// block is what stands between fences.
type block struct {
	page    string
	line    int
	kind    string // what stands behind the fence
	section string // anchor of the heading above
	text    string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

type link struct{ section, target string }

// code is text between backticks.
type code struct {
	line int
	text string
}

// pages are all documents that the tests hold to their word.
func pages(t *testing.T) []page {
	t.Helper()
	names := []string{"README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "charts/mountwarden/README.md"}
	must(t, filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			name, relErr := filepath.Rel(root, path)
			names, err = append(names, filepath.ToSlash(name)), relErr
		}
		return err
	}))
	if len(names) < 20 {
		t.Fatalf("only %d pages", len(names))
	}
	var all []page
	for _, name := range names {
		source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		must(t, err)
		all = append(all, parse(name, source))
	}
	return all
}

// parse reads one document.
func parse(name string, source []byte) page {
	p := page{path: name, words: string(source)}
	tree := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	seen := map[string]int{}
	_ = ast.Walk(tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // it fails only if this does
		if entering {
			p.take(n, source, seen)
		}
		return ast.WalkContinue, nil
	})
	return p
}

func (p *page) take(n ast.Node, source []byte, seen map[string]int) {
	switch n := n.(type) {
	case *ast.Heading:
		title := plain(n, source)
		p.headings = append(p.headings, heading{n.Level, title, unique(slug(title), seen)})
	case *ast.FencedCodeBlock:
		p.blocks = append(p.blocks, block{p.path, lineOf(n, source), string(n.Language(source)), p.section(), string(n.Lines().Value(source))})
	case *ast.CodeBlock: // an indented one has no kind, which no checker claims
		p.blocks = append(p.blocks, block{page: p.path, line: lineOf(n, source), text: string(n.Lines().Value(source))})
	case *ast.CodeSpan:
		p.codes = append(p.codes, code{lineOf(n, source), strings.ReplaceAll(plain(n, source), "\n", " ")}) // it may go over lines
	case *ast.Link:
		p.links = append(p.links, link{p.section(), string(n.Destination)})
	case *ast.Image:
		p.links = append(p.links, link{p.section(), string(n.Destination)})
	}
}

func (p *page) section() string {
	if len(p.headings) == 0 {
		return ""
	}
	return p.headings[len(p.headings)-1].anchor
}

// has reports whether a heading has the anchor.
func (p *page) has(anchor string) bool {
	return slices.ContainsFunc(p.headings, func(h heading) bool { return h.anchor == anchor })
}

// plain is the text below a node.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // it fails only if this does
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// lineOf is where a node begins, counted from 1; that of an inline node is the line of its block.
func lineOf(n ast.Node, source []byte) int {
	for n.Type() == ast.TypeInline {
		n = n.Parent()
	}
	lines := n.Lines()
	if lines.Len() == 0 {
		return 0
	}
	return strings.Count(string(source[:lines.At(0).Start]), "\n") + 1
}

// slug is the anchor that GitHub gives to a heading.
func slug(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, title)
}

func unique(anchor string, seen map[string]int) string {
	n := seen[anchor]
	seen[anchor]++
	if n > 0 {
		return fmt.Sprintf("%s-%d", anchor, n)
	}
	return anchor
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
