// Verify measures a clone of the repository against docs' "Figures to live within" and says what to do where one is not met.
//
// It leans on go/parser alone, so it needs no build and no network. The figures are guard rails and no proof of quality. It
// does not look for what golangci-lint finds; the tests beside it prove that the import rules of .golangci.yml fire.
package main
