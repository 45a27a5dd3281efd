package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The Dockerfile and `make image` are two ways to one image: the same programs, built and started alike.
func TestDockerfileIsInStep(t *testing.T) {
	dockerfile, makefile := read(t, "Dockerfile"), read(t, "Makefile")
	for _, same := range []string{"CGO_ENABLED=0", "-trimpath", "-buildvcs=false", "-s -w -X main.version="} {
		if !strings.Contains(dockerfile, same) || !strings.Contains(makefile, same) {
			t.Errorf("%q is not in both", same)
		}
	}
	commands, err := filepath.Glob("../../cmd/*")
	if err != nil || len(commands) == 0 {
		t.Fatalf("no programs: %v", err)
	}
	var programs []string
	for _, c := range commands {
		programs = append(programs, filepath.Base(c))
	}
	built := regexp.MustCompile(`\./cmd/([\w-]+)`).FindAllStringSubmatch(dockerfile, -1)
	copied := regexp.MustCompile(`/out/([\w-]+)`).FindAllStringSubmatch(dockerfile, -1)
	packed := regexp.MustCompile(`\b([\w-]+):/([\w-]+)`).FindAllStringSubmatch(makefile[strings.Index(makefile, "\nimage:"):strings.Index(makefile, "\n.PHONY: sbom")], -1)
	for what, found := range map[string][][]string{"built by the Dockerfile": built, "copied by the Dockerfile": copied, "packed by make": packed} {
		if got := firsts(found); !slices.Equal(got, programs) {
			t.Errorf("%s: %v, want %v", what, got, programs)
		}
	}
	for docker, flag := range map[string]string{`ENTRYPOINT ["/mountwarden"]`: "--entrypoint /mountwarden ", `CMD ["agent"]`: "--cmd agent ", "USER 0:0": "--user 0 "} {
		if !strings.Contains(dockerfile, docker) || !strings.Contains(makefile, flag) {
			t.Errorf("%s and %s are not both there", docker, flag)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func firsts(found [][]string) (all []string) {
	for _, f := range found {
		all = append(all, f[1])
	}
	slices.Sort(all)
	return all
}
