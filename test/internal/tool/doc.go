// Package tool finds the pinned programs that tests run, such as helm and golangci-lint.
//
// They are built from the modules below test/tools by `cluster bin NAME`, once, and cached outside the tree. Do not use
// it for programs of the machine.
package tool
