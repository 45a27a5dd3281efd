// Package build compiles the pinned programs that a cluster is made of, once.
//
// Each program comes from a module below test/tools that pins it and all it needs; `go build`
// fetches them from the module proxy and checks them against go.sum. The result is kept in a folder
// named after everything that decides its content (go.mod, go.sum, flags, Go version), so a changed
// pin is a new folder and an old result is never taken for a new one. A program is compiled under
// a temporary name and renamed: an interrupted build leaves nothing that looks finished.
package build
