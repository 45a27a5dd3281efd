package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func TestThePictureIsCurrent(t *testing.T) {
	drawn, err := os.ReadFile(filepath.Join(root, "docs", "architecture.svg"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(draw(theScene()), string(drawn)); diff != "" {
		t.Errorf("docs/architecture.svg is out of date: run `go generate ./picture` in test/ (-wanted +file):\n%s", diff)
	}
}

// A browser must be able to read it, and so must who cannot see it.
func TestThePictureIsWellFormed(t *testing.T) {
	decoder := xml.NewDecoder(strings.NewReader(draw(theScene())))
	seen := map[string]int{}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			seen[start.Name.Local]++
		}
	}
	s := theScene()
	if seen["title"] != 1 || seen["desc"] != 1 || seen["rect"] != len(s.boxes)+1 || seen["path"] != len(s.arrows)+1 {
		t.Errorf("elements: %v", seen)
	}
}

func TestLightAndDark(t *testing.T) {
	light, dark, found := strings.Cut(style, "prefers-color-scheme: dark")
	if !found {
		t.Fatal("one set of colours only")
	}
	for _, class := range regexp.MustCompile(`(?m)^ *(\.?[a-z]+) \{[^}]*(?:fill|stroke): #`).FindAllStringSubmatch(light, -1) {
		if !strings.Contains(dark, class[1]+" {") {
			t.Errorf("%s has no colour in the dark", class[1])
		}
	}
}

// problems are where a scene is not legible: text beyond its box, boxes over each other, arrows that lead nowhere.
func problems(s scene) (found []string) {
	for i, x := range s.boxes {
		if x.x < 0 || x.y < 0 || x.x+x.w > s.width || x.y+x.h > s.height {
			found = append(found, x.title+" is beyond the picture")
		}
		for _, line := range append([]string{x.title}, x.lines...) {
			if width := 7 * len([]rune(line)); width > x.w-2*inset+20 {
				found = append(found, "too long: "+line)
			}
		}
		if baseline+len(x.lines)*leading > x.h {
			found = append(found, x.title+" has too many lines")
		}
		for _, y := range s.boxes[:i] {
			if x.x < y.x+y.w && y.x < x.x+x.w && x.y < y.y+y.h && y.y < x.y+x.h {
				found = append(found, x.title+" covers "+y.title)
			}
		}
	}
	for _, a := range s.arrows {
		if !s.touches(a.x1, a.y1) || !s.touches(a.x2, a.y2) {
			found = append(found, "an arrow leads nowhere: "+a.label)
		}
	}
	return found
}

// touches reports whether a point is on the edge of a box.
func (s scene) touches(px, py int) bool {
	for _, x := range s.boxes {
		inside := px >= x.x && px <= x.x+x.w && py >= x.y && py <= x.y+x.h
		if inside && (px == x.x || px == x.x+x.w || py == x.y || py == x.y+x.h) {
			return true
		}
	}
	return false
}

func TestTheSceneIsLegible(t *testing.T) {
	for _, p := range problems(theScene()) {
		t.Error(p)
	}
}

// The check above can fail.
func TestProblemsAreFound(t *testing.T) {
	for want, spoil := range map[string]func(*scene){
		"covers":         func(s *scene) { s.boxes[1].x = s.boxes[0].x },
		"too long":       func(s *scene) { s.boxes[0].lines[0] = strings.Repeat("x", 60) },
		"too many":       func(s *scene) { s.boxes[0].lines = make([]string, 9) },
		"beyond":         func(s *scene) { s.boxes[2].x = s.width },
		"leads nowhere":  func(s *scene) { s.arrows[0].x1 = 0 },
		"leads nowhere:": func(s *scene) { s.arrows[0].y2++ },
	} {
		s := theScene()
		spoil(&s)
		if got := strings.Join(problems(s), "\n"); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Each package that the picture names is there.
func TestTheScenesPackagesExist(t *testing.T) {
	for _, x := range theScene().boxes {
		for _, name := range regexp.MustCompile(`\b(?:probes|controllers)/[a-z]+`).FindAllString(strings.Join(x.lines, " "), -1) {
			if info, err := os.Stat(filepath.Join(root, name)); err != nil || !info.IsDir() {
				t.Errorf("%s: there is no package %s", x.title, name)
			}
		}
	}
}
