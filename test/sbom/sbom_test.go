package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"
)

// build compiles the agent and its worker as they are shipped.
func build(t *testing.T) (binaries []string) {
	t.Helper()
	dir := t.TempDir()
	const programs = "github.com/mountwarden/mountwarden/cmd/"
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", programs+"mountwarden-probe", programs+"mountwarden-backend")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return []string{filepath.Join(dir, "mountwarden-probe"), filepath.Join(dir, "mountwarden-backend")}
}

func run(args ...string) error {
	cmd := newCommand()
	cmd.SetArgs(args)
	return cmd.Execute()
}

func sbom(t *testing.T, binaries ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sbom.spdx.json")
	if err := run(append([]string{"--name", "mountwarden", "--version", "v1.2.3", "--created", "2026-01-02T03:04:05Z", "--output", path}, binaries...)...); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What `go version -m` says of the binaries, and all of it, stands in the document.
func TestEveryModuleIsNamed(t *testing.T) {
	binaries := build(t)
	doc, err := spdxjson.Read(bytes.NewReader(sbom(t, binaries...)))
	if err := errors.Join(err, spdxlib.ValidateDocument(doc)); err != nil {
		t.Fatal(err)
	}
	named := map[string]string{}
	for _, p := range doc.Packages {
		if len(p.PackageChecksums) == 1 && len(p.PackageExternalReferences) == 1 {
			named[p.PackageExternalReferences[0].Locator] = p.PackageChecksums[0].Value
		}
	}
	text, err := exec.CommandContext(t.Context(), "go", append([]string{"version", "-m"}, binaries...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := regexp.MustCompile(`(?m)^\t(?:dep|=>)\t(\S+)\t(\S+)\th1:(\S+)$`).FindAllStringSubmatch(string(text), -1)
	if len(modules) < 2 {
		t.Fatalf("the binaries name %d modules:\n%s", len(modules), text)
	}
	seen := map[string]bool{}
	for _, m := range modules {
		sum, err := base64.StdEncoding.DecodeString(m[3])
		if err != nil {
			t.Fatal(err)
		}
		purl := "pkg:golang/" + m[1] + "@" + m[2]
		seen[purl] = true
		if named[purl] != hex.EncodeToString(sum) {
			t.Errorf("%s has the checksum %q, want %x", purl, named[purl], sum)
		}
	}
	if len(named) != len(seen) {
		t.Errorf("%d modules are named, want %d: %v", len(named), len(seen), named)
	}
}

// The fields that SPDX 2.3 makes mandatory are there, under the names of its JSON, and every relation is between what is there.
func TestStructure(t *testing.T) {
	var doc struct {
		SPDXVersion, DataLicense, SPDXID, Name, DocumentNamespace string
		CreationInfo                                              struct {
			Created  string
			Creators []string
		}
		Packages      []struct{ SPDXID, Name, DownloadLocation, VersionInfo string }
		Relationships []struct{ SPDXElementID, RelatedSPDXElement, RelationshipType string }
	}
	text := sbom(t, build(t)...)
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.SPDXVersion != "SPDX-2.3" || doc.DataLicense != "CC0-1.0" || doc.SPDXID != "SPDXRef-DOCUMENT" || doc.Name != "mountwarden-v1.2.3" ||
		!strings.HasPrefix(doc.DocumentNamespace, "https://") || doc.CreationInfo.Created != "2026-01-02T03:04:05Z" || len(doc.CreationInfo.Creators) != 1 {
		t.Errorf("%+v", doc)
	}
	ids, name := map[string]bool{"SPDXRef-DOCUMENT": true}, regexp.MustCompile(`^SPDXRef-[a-zA-Z0-9.-]+$`)
	for _, p := range doc.Packages {
		if !name.MatchString(p.SPDXID) || ids[p.SPDXID] || p.Name == "" || p.VersionInfo == "" || p.DownloadLocation == "" {
			t.Errorf("package %+v", p)
		}
		ids[p.SPDXID] = true
	}
	kinds := map[string]int{}
	for _, r := range doc.Relationships {
		kinds[r.RelationshipType]++
		if !ids[r.SPDXElementID] || !ids[r.RelatedSPDXElement] {
			t.Errorf("relation %+v of what is not there", r)
		}
	}
	if kinds["DESCRIBES"] != 1 || kinds["CONTAINS"] != 2 || kinds["DEPENDS_ON"] < 4 {
		t.Errorf("relations: %v", kinds)
	}
}

func TestTheSameBinariesGiveTheSameFile(t *testing.T) {
	binaries := build(t)
	if !bytes.Equal(sbom(t, binaries...), sbom(t, binaries...)) {
		t.Error("two runs differ")
	}
	if bytes.Equal(sbom(t, binaries...), sbom(t, binaries[0])) {
		t.Error("another set of binaries gives the same file")
	}
}

// A module from a folder beside, by a replace directive, has no checksum: nobody could tell what is in it.
func TestChecksums(t *testing.T) {
	good := "h1:" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, row := range []struct {
		m    debug.Module
		want string // the package's name; "" for a refusal
	}{
		{debug.Module{Path: "example.com/a", Version: "v1.0.0", Sum: good}, "example.com/a"},
		{debug.Module{Path: "example.com/a", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/b", Version: "v1.0.1", Sum: good}}, "example.com/b"},
		{debug.Module{Path: "example.com/a", Version: "v1.0.0", Replace: &debug.Module{Path: "../b"}}, ""},
		{debug.Module{Path: "example.com/a", Version: "v1.0.0"}, ""},
		{debug.Module{Path: "example.com/a", Version: "v1.0.0", Sum: "h2:" + good[3:]}, ""},
		{debug.Module{Path: "example.com/a", Version: "v1.0.0", Sum: "h1:AAAA"}, ""},
	} {
		p, err := linked(&row.m)
		if err != nil && row.want == "" && strings.Contains(err.Error(), "checksum") {
			continue
		}
		if err != nil || p.PackageName != row.want {
			t.Errorf("%+v: %v, %+v", row.m, err, p)
		}
	}
}

func TestRefusals(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	output := "--output=" + filepath.Join(t.TempDir(), "out")
	for name, row := range map[string]struct {
		args []string
		want string
	}{
		"no binary":         {[]string{"--name=x", "--version=v1", "--created=2026-01-02T03:04:05Z", output}, "arg"},
		"no name":           {[]string{"--version=v1", "--created=2026-01-02T03:04:05Z", output, self}, "--name"},
		"no time":           {[]string{"--name=x", "--version=v1", output, self}, "--created"},
		"not a Go binary":   {[]string{"--name=x", "--version=v1", "--created=2026-01-02T03:04:05Z", output, "/etc/passwd"}, "/etc/passwd"},
		"there is no file":  {[]string{"--name=x", "--version=v1", "--created=2026-01-02T03:04:05Z", output, "/nowhere"}, "/nowhere"},
		"a time that is no": {[]string{"--name=x", "--version=v1", "--created=yesterday", output, self}, "yesterday"},
	} {
		if err := run(row.args...); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}
