package docs

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mountwarden/mountwarden/config"
)

// defaultsOf are the defaults of all settings and annotations, by their names, as text.
func defaultsOf(t *testing.T) map[string]string {
	t.Helper()
	text, err := config.Default().YAML()
	must(t, err)
	values := map[string]any{}
	must(t, yaml.Unmarshal(text, &values))
	found := map[string]string{}
	flatten("", values, found)
	for _, annotation := range config.Annotations() {
		name := strings.TrimPrefix(annotation, config.AnnotationPrefix)
		if value, set := found["defaults."+camel(name)]; set {
			found[name], found[annotation] = value, value
		}
	}
	return found
}

func flatten(path string, values map[string]any, into map[string]string) {
	for key, value := range values {
		switch value := value.(type) {
		case map[string]any:
			flatten(path+key+".", value, into)
		case []any: // its commas are those of the table
		default:
			into[path+key], into["config."+path+key] = fmt.Sprint(value), fmt.Sprint(value) // as the chart has it
		}
	}
}

// camel turns period-seconds into periodSeconds.
func camel(name string) string {
	words := strings.Split(name, "-")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// misstated are the defaults that a page tells wrong: in a table whose second column is the default, and in `name` (30).
func misstated(p page, defaults map[string]string) (found []string, seen int) {
	told := func(name, value string) {
		want, known := defaults[name]
		if !known {
			return
		}
		seen++
		if want != value {
			found = append(found, fmt.Sprintf("the default of %s is %s, not %s", name, want, value))
		}
	}
	for _, m := range regexp.MustCompile("`([a-zA-Z./-]+)` \\((\\d+)\\)").FindAllStringSubmatch(p.words, -1) {
		told(m[1], m[2])
	}
	for _, table := range regexp.MustCompile(`(?m)^\|[^|\n]*\| default \|.*\n(\|.*\n)+`).FindAllString(p.words, -1) {
		for line := range strings.Lines(table) {
			cells := strings.Split(line, "|")
			names, values := expandNames(cells[1]), strings.Split(strings.NewReplacer("`", "", " ", "", `"`, "").Replace(cells[2]), ",")
			for i := range min(len(names), len(values)) {
				told(names[i], values[i])
			}
		}
	}
	return found, seen
}

// expandNames reads `budgets.node`, `.namespace`.
func expandNames(cell string) (names []string) {
	section := ""
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		name := m[1]
		if strings.HasPrefix(name, ".") {
			name = section + name
		}
		section, _, _ = strings.Cut(name, ".")
		names = append(names, name)
	}
	return names
}

// What a page says of a default is what the agent does.
func TestDefaultsAreTold(t *testing.T) {
	defaults, seen := defaultsOf(t), 0
	for _, p := range pages(t) {
		problems, n := misstated(p, defaults)
		seen += n
		for _, problem := range problems {
			t.Errorf("%s: %s", p.path, problem)
		}
	}
	if seen < 40 {
		t.Errorf("only %d defaults were seen", seen)
	}
}

// The README tells of every annotation.
func TestTheReadmeHasEveryAnnotation(t *testing.T) {
	readme := byPath(pages(t))["README.md"]
	for _, annotation := range config.Annotations() {
		if short := strings.TrimPrefix(annotation, config.AnnotationPrefix); !strings.Contains(readme.words, "\n| `"+short+"` |") && short != "watch" {
			t.Errorf("its table lacks %s", short)
		}
	}
}

func TestWrongDefaultsAreFound(t *testing.T) {
	defaults := defaultsOf(t)
	for text, want := range map[string]string{
		"`hang-seconds` (41)":   "hang-seconds is 40",
		"`blockedSeconds` (31)": "blockedSeconds is 30",
		"| a | default |\n|---|---|\n| `budgets.node`, `.namespace` | 30, 61 |\n": "budgets.namespace is 60",
		"| a | default | b |\n|---|---|---|\n| `mode` | `Report` | c |\n":         "mode is Remediate",
		"`hang-seconds` (40), `mountwarden.io/period-seconds` (10)":               "",
	} {
		problems, seen := misstated(parse("x.md", []byte(text)), defaults)
		if got := strings.Join(problems, "\n"); seen == 0 || (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q of %d, want %q", text, got, seen, want)
		}
	}
}
