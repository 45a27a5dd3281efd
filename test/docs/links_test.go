package docs

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// broken are the links of a page that lead nowhere. Those to other sites are only parsed.
func broken(p page, all map[string]page) (found []string) {
	for _, l := range p.links {
		target, err := url.Parse(l.target)
		switch {
		case err != nil:
			found = append(found, err.Error())
			continue
		case target.Scheme == "https":
			continue
		case target.Scheme != "" || target.Host != "":
			found = append(found, fmt.Sprintf("%s: only https leads out of here", l.target))
			continue
		}
		place := p.path
		if target.Path != "" {
			place = path.Join(path.Dir(p.path), target.Path)
		}
		to, isPage := all[place]
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(place))); err != nil && !isPage {
			found = append(found, fmt.Sprintf("%s: there is no %s", l.target, place))
		} else if target.Fragment != "" && isPage && !to.has(target.Fragment) {
			found = append(found, fmt.Sprintf("%s: %s has no such heading", l.target, place))
		}
	}
	return found
}

func byPath(all []page) map[string]page {
	found := map[string]page{}
	for _, p := range all {
		found[p.path] = p
	}
	return found
}

func TestLinksLeadSomewhere(t *testing.T) {
	all, links := pages(t), 0
	for _, p := range all {
		links += len(p.links)
		for _, problem := range broken(p, byPath(all)) {
			t.Errorf("%s: %s", p.path, problem)
		}
	}
	if links < 80 {
		t.Errorf("only %d links were seen", links)
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	all := byPath([]page{parse("docs/other.md", []byte("# A heading: with `code`, twice\n\n## Twice\n\n## Twice\n"))})
	for target, want := range map[string]string{
		"nosuch.md": "there is no docs/nosuch.md", "../nosuch": "there is no nosuch", "other.md#nosuch": "no such heading", "http://example.com": "only https",
		"other.md#a-heading-with-code-twice": "", "other.md#twice": "", "other.md#twice-1": "", "other.md#twice-2": "no such heading",
		"../README.md": "", "https://example.com/a": "", "https://example.com/%zz": "invalid",
	} {
		got := strings.Join(broken(parse("docs/x.md", []byte("[a]("+target+")")), all), "\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// The index leads to every page, so that nobody writes one that nobody finds.
func TestEveryPageIsFound(t *testing.T) {
	for _, index := range []struct{ path, folder string }{{"docs/README.md", "docs"}, {"docs/runbooks/README.md", "docs/runbooks"}} {
		all := byPath(pages(t))
		reached := map[string]bool{}
		for _, l := range all[index.path].links {
			target, _, _ := strings.Cut(l.target, "#")
			reached[path.Join(index.folder, target)] = true
		}
		for name := range all {
			if path.Dir(name) == index.folder && name != index.path && !reached[name] {
				t.Errorf("%s does not lead to %s", index.path, name)
			}
		}
	}
}

// What a page shows of `mountwarden status` begins with the columns that it has.
func TestTheStatusHasItsColumns(t *testing.T) {
	const first = "NAMESPACE   POD "
	columns, shown := map[string]bool{}, 0
	for line := range strings.Lines(readFile(t, "controllers/status/table/testdata/node.txt")) {
		columns[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, p := range pages(t) {
		for line := range strings.Lines(p.words) {
			if !strings.HasPrefix(line, first) {
				continue
			}
			shown++
			if !columns[strings.Join(strings.Fields(line), " ")] {
				t.Errorf("%s: the status has other columns than %s", p.path, line)
			}
		}
	}
	if shown == 0 {
		t.Error("no page shows the status")
	}
}

// Every example is used, and a page says what for.
func TestEveryExampleIsLinked(t *testing.T) {
	recipes := byPath(pages(t))["docs/recipes.md"]
	for name := range examples(t) {
		count := 0
		for _, l := range recipes.links {
			if l.target == "examples/"+name {
				count++
			}
		}
		if count < 2 {
			t.Errorf("the recipes lead to %s %d times, want it in the table and in a section", name, count)
		}
	}
}
