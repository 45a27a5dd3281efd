package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

const (
	noAssertion = "NOASSERTION"
	homepage    = "https://github.com/mountwarden/mountwarden"
)

// builder collects the packages of a document, each once.
type builder struct {
	doc  *v2_3.Document
	seen map[common.ElementID]bool
	sums []byte // of the binaries: they name the document
}

// document describes the binaries as the parts of one product.
func document(name, version string, created time.Time, binaries []string) (*v2_3.Document, error) {
	b := &builder{seen: map[common.ElementID]bool{}, doc: &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: name + "-" + version,
		CreationInfo: &v2_3.CreationInfo{
			Created:  created.UTC().Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "mountwarden-sbom"}},
		},
	}}
	product := &v2_3.Package{PackageName: name, PackageVersion: version, PackageLicenseDeclared: "Apache-2.0", PackageDownloadLocation: homepage}
	b.add("DOCUMENT", "DESCRIBES", product)
	for _, path := range binaries {
		if err := b.binary(product.PackageSPDXIdentifier, version, path); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	b.doc.DocumentNamespace = fmt.Sprintf("%s/spdx/%s-%s-%x", homepage, name, version, sha256.Sum256(b.sums))
	return b.doc, nil
}

// binary adds a binary with the modules in it. A folder's name tells the architecture.
func (b *builder) binary(of common.ElementID, version, path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	b.sums = append(b.sums, sum[:]...)
	binary := &v2_3.Package{
		PackageName: filepath.Base(path), PackageVersion: version + " " + setting(info, "GOOS") + "/" + setting(info, "GOARCH"),
		PackageFileName: filepath.Base(path), PackageLicenseDeclared: "Apache-2.0", PackageDownloadLocation: homepage,
		PackageChecksums: []common.Checksum{{Algorithm: common.SHA256, Value: hex.EncodeToString(sum[:])}}, PrimaryPackagePurpose: "APPLICATION",
	}
	b.add(of, "CONTAINS", binary)
	b.add(binary.PackageSPDXIdentifier, "DEPENDS_ON", module("stdlib", strings.TrimPrefix(info.GoVersion, "go")))
	for _, dependency := range info.Deps {
		p, err := linked(dependency)
		if err != nil {
			return err
		}
		b.add(binary.PackageSPDXIdentifier, "DEPENDS_ON", p)
	}
	return nil
}

func setting(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return "unknown"
}

// linked describes a module, or what it was replaced by. go.sum's checksum is a SHA-256 as well, of the list of the module's
// files and theirs (golang.org/x/mod/sumdb/dirhash): whoever has the module can make it anew.
func linked(m *debug.Module) (*v2_3.Package, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	p := module(m.Path, m.Version)
	sum, ok := strings.CutPrefix(m.Sum, "h1:")
	raw, err := base64.StdEncoding.DecodeString(sum)
	if !ok || err != nil || len(raw) != sha256.Size {
		return nil, fmt.Errorf("module %s %s has the checksum %q, want h1: and a SHA-256: build with modules from a proxy or the cache", m.Path, m.Version, m.Sum)
	}
	p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: hex.EncodeToString(raw)}}
	return p, nil
}

func module(path, version string) *v2_3.Package {
	return &v2_3.Package{
		PackageName: path, PackageVersion: version, PackageDownloadLocation: noAssertion, PackageLicenseDeclared: noAssertion,
		PackageExternalReferences: []*v2_3.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: "pkg:golang/" + path + "@" + version,
		}},
	}
}

// add gives a package its name within the document, keeps it once, and says how the other one is related to it.
func (b *builder) add(other common.ElementID, relation string, p *v2_3.Package) {
	p.PackageSPDXIdentifier = common.ElementID("Package-" + hex.EncodeToString(fmt.Appendf(nil, "%s@%s", p.PackageName, p.PackageVersion)))
	p.PackageLicenseConcluded, p.PackageCopyrightText = noAssertion, noAssertion
	if !b.seen[p.PackageSPDXIdentifier] {
		b.seen[p.PackageSPDXIdentifier] = true
		b.doc.Packages = append(b.doc.Packages, p)
	}
	b.doc.Relationships = append(b.doc.Relationships, &v2_3.Relationship{
		RefA: common.MakeDocElementID("", string(other)), RefB: common.MakeDocElementID("", string(p.PackageSPDXIdentifier)), Relationship: relation,
	})
}
