package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile is the largest file that is read, in bytes; a ConfigMap can hold no more either.
const maxFile = 1 << 20

// readFile returns a file's text, and a warning when others than its owner and group may write it.
func readFile(path string) ([]byte, []Warning, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	text, readErr := io.ReadAll(io.LimitReader(f, maxFile+1))
	info, statErr := f.Stat()
	if err := errors.Join(readErr, statErr); err != nil {
		return nil, nil, err
	}
	if len(text) > maxFile {
		return nil, nil, fmt.Errorf("%w file: it is larger than %d bytes", ErrInvalid, maxFile)
	}
	return text, permissions(path, info.Mode()), nil
}

func permissions(path string, mode os.FileMode) []Warning {
	if mode.Perm()&0o002 == 0 {
		return nil
	}
	return []Warning{Warning(fmt.Sprintf("%s may be written by everybody (mode %#o): run chmod o-w on it", path, mode.Perm()))}
}

// parse applies one YAML document, and so also JSON, to the settings. It refuses what it does not know.
func parse(text []byte, all []setting) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil // an empty file says nothing
	} else if err != nil {
		return fmt.Errorf("%w file: %w", ErrInvalid, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w file: it holds more than one document", ErrInvalid)
	}
	p := fileParser{settings: all, lines: map[string]int{}}
	p.mapping("", document.Content[0])
	return errors.Join(p.problems...)
}

// fileParser walks a document and collects every problem with its line.
type fileParser struct {
	settings []setting
	lines    map[string]int // where a key was seen first
	problems []error
}

// refuse notes a problem at a node.
func (p *fileParser) refuse(n *yaml.Node, err error) {
	p.problems = append(p.problems, fmt.Errorf("line %d: %w", n.Line, err))
}

// mapping applies a mapping whose keys stand below a section; "" is the document itself.
func (p *fileParser) mapping(section string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.refuse(n, invalid(cmp.Or(section, "document"), n.Value, "a mapping of keys to values"))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		at, value := n.Content[i], n.Content[i+1]
		if at.Kind != yaml.ScalarNode || strings.Contains(at.Value, ".") {
			p.unknown(at, at.Value)
			continue
		}
		p.entry(strings.TrimPrefix(section+"."+at.Value, "."), at, value)
	}
}

// entry applies one key, which is a setting or a section of settings.
func (p *fileParser) entry(key string, at, value *yaml.Node) {
	if first, seen := p.lines[key]; seen {
		p.refuse(at, fmt.Errorf("%w key %s: it was set in line %d already", ErrInvalid, key, first))
		return
	}
	p.lines[key] = at.Line
	for _, s := range p.settings {
		switch {
		case s.key == key:
			p.value(s, value)
			return
		case strings.HasPrefix(s.key, key+"."):
			p.mapping(key, value)
			return
		}
	}
	p.unknown(at, key)
}

func (p *fileParser) unknown(at *yaml.Node, key string) {
	p.refuse(at, invalid("key", key, "one of "+strings.Join(Keys(), ", ")))
}

// value sets one setting. Aliases are refused: nothing here is worth repeating, and they can grow without bound.
func (p *fileParser) value(s setting, n *yaml.Node) {
	text, ok := scalar(n)
	if s.Type() == "list" && n.Kind == yaml.SequenceNode {
		text, ok = sequence(n)
	}
	if !ok {
		p.refuse(n, invalid(s.key, n.Value, "a plain "+s.Type()))
		return
	}
	if err := s.Set(text); err != nil {
		p.refuse(n, err)
	}
}

// scalar returns a plain value's text. A key with no value is refused: it is more often a slip than a wish.
func scalar(n *yaml.Node) (string, bool) {
	return n.Value, n.Kind == yaml.ScalarNode && n.Tag != "!!null"
}

// sequence returns a list's elements as the text of a flag.
func sequence(n *yaml.Node) (string, bool) {
	texts := make([]string, len(n.Content))
	for i, element := range n.Content {
		text, ok := scalar(element)
		if !ok {
			return "", false
		}
		texts[i] = text
	}
	return strings.Join(texts, ","), true
}
