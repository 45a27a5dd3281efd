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

// maxFileBytes is the size of the largest file that is read. A ConfigMap cannot hold more either.
const maxFileBytes = 1 << 20

// readFile returns a file's text, and a warning when others than its owner and group may write it.
func readFile(path string) ([]byte, []Warning, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	text, readErr := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	info, statErr := f.Stat()
	if err := errors.Join(readErr, statErr); err != nil {
		return nil, nil, err
	}
	if len(text) > maxFileBytes {
		return nil, nil, fmt.Errorf("%w file: it is larger than %d bytes", ErrInvalid, maxFileBytes)
	}
	return text, checkFileMode(path, info.Mode()), nil
}

// checkFileMode warns of a file that everybody may write.
func checkFileMode(path string, mode os.FileMode) []Warning {
	if mode.Perm()&0o002 == 0 {
		return nil
	}
	return []Warning{Warning(fmt.Sprintf("%s may be written by everybody (mode %#o): run chmod o-w on it", path, mode.Perm()))}
}

// parseDocument applies one YAML document, and so also JSON, to the settings. It rejects unknown
// keys.
func parseDocument(text []byte, all []setting) error {
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
	p.applyMapping("", document.Content[0])
	return errors.Join(p.problems...)
}

// fileParser walks a document and collects every problem with its line.
type fileParser struct {
	settings []setting
	lines    map[string]int // where a key was seen first
	problems []error
}

// addProblem keeps a problem and the line of its node.
func (p *fileParser) addProblem(n *yaml.Node, err error) {
	p.problems = append(p.problems, fmt.Errorf("line %d: %w", n.Line, err))
}

// applyMapping applies a mapping whose keys are below a section. The section of the document itself
// is "".
func (p *fileParser) applyMapping(section string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.addProblem(n, rejectValue(cmp.Or(section, "document"), n.Value, "a mapping of keys to values"))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		at, value := n.Content[i], n.Content[i+1]
		if at.Kind != yaml.ScalarNode || strings.Contains(at.Value, ".") {
			p.rejectKey(at, at.Value)
			continue
		}
		p.applyEntry(strings.TrimPrefix(section+"."+at.Value, "."), at, value)
	}
}

// applyEntry applies one key, which is a setting or a section of settings.
func (p *fileParser) applyEntry(key string, at, value *yaml.Node) {
	if first, seen := p.lines[key]; seen {
		p.addProblem(at, fmt.Errorf("%w key %s: it was set in line %d already", ErrInvalid, key, first))
		return
	}
	p.lines[key] = at.Line
	for _, s := range p.settings {
		switch {
		case s.key == key:
			p.applyValue(s, value)
			return
		case strings.HasPrefix(s.key, key+"."):
			p.applyMapping(key, value)
			return
		}
	}
	p.rejectKey(at, key)
}

func (p *fileParser) rejectKey(at *yaml.Node, key string) {
	p.addProblem(at, rejectValue("key", key, "one of "+strings.Join(Keys(), ", ")))
}

// applyValue sets one setting. It rejects aliases: nothing here is worth repeating, and they can
// grow without bound.
func (p *fileParser) applyValue(s setting, n *yaml.Node) {
	text, ok := readScalar(n)
	if s.Type() == "list" && n.Kind == yaml.SequenceNode {
		text, ok = readSequence(n)
	}
	if !ok {
		p.addProblem(n, rejectValue(s.key, n.Value, "a plain "+s.Type()))
		return
	}
	if err := s.Set(text); err != nil {
		p.addProblem(n, err)
	}
}

// readScalar returns a plain value's text. It rejects a key without a value, which is more often a
// mistake than intended.
func readScalar(n *yaml.Node) (string, bool) {
	return n.Value, n.Kind == yaml.ScalarNode && n.Tag != "!!null"
}

// readSequence returns a list's elements as the text of a flag.
func readSequence(n *yaml.Node) (string, bool) {
	texts := make([]string, len(n.Content))
	for i, element := range n.Content {
		text, ok := readScalar(element)
		if !ok {
			return "", false
		}
		texts[i] = text
	}
	return strings.Join(texts, ","), true
}
