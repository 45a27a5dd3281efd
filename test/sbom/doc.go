// Command sbom writes what binaries are made of as SPDX 2.3 JSON: https://spdx.github.io/spdx-spec/v2.3/.
//
// It leans on what the Go linker records in every binary (debug/buildinfo): the modules that were really linked, with version and
// checksum, and the version of Go. That is what is inside, not what go.mod would allow. Modules are found by people and scanners under
// their package URL (https://github.com/package-url/purl-spec).
//
// Do not use it for binaries with C libraries: they are not recorded.
package main
