package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// undocumentedPackages lists the folders with no package comment in any file, those of the test module included.
func (r repo) undocumentedPackages() []string {
	documented := map[string]bool{}
	for _, f := range r.files {
		if dir := path.Dir(f.path); !strings.HasSuffix(f.path, "_test.go") {
			documented[dir] = documented[dir] || f.syntax.Doc != nil
		}
	}
	var missing []string
	for dir, ok := range documented {
		if !ok {
			missing = append(missing, dir)
		}
	}
	slices.Sort(missing)
	return missing
}

// undocumentedNames lists the exported names of production packages that have no comment.
func (r repo) undocumentedNames() []string {
	var missing []string
	for _, f := range r.production() {
		for _, name := range undocumented(f.syntax) {
			missing = append(missing, fmt.Sprintf("%s:%d %s", f.path, r.fset.Position(name.Pos()).Line, name.Name))
		}
	}
	return missing
}

func undocumented(f *ast.File) []*ast.Ident {
	var missing []*ast.Ident
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Doc == nil && decl.Name.IsExported() && receiverIsExported(decl) {
				missing = append(missing, decl.Name)
			}
		case *ast.GenDecl:
			missing = append(missing, undocumentedSpecs(decl)...)
		}
	}
	return missing
}

// receiverIsExported is true of functions, too.
func receiverIsExported(decl *ast.FuncDecl) bool {
	if decl.Recv == nil {
		return true
	}
	receiver := decl.Recv.List[0].Type
	for {
		switch t := receiver.(type) {
		case *ast.StarExpr:
			receiver = t.X
		case *ast.IndexExpr:
			receiver = t.X
		case *ast.IndexListExpr:
			receiver = t.X
		case *ast.Ident:
			return t.IsExported()
		default:
			return false
		}
	}
}

// undocumentedSpecs accepts a comment on the group for its constants and variables, each of which may also have one
// of its own, above it or behind it. Each type has its own.
func undocumentedSpecs(decl *ast.GenDecl) []*ast.Ident {
	var missing []*ast.Ident
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			alone := decl.Lparen == token.NoPos && decl.Doc != nil
			if spec.Name.IsExported() && spec.Doc == nil && !alone {
				missing = append(missing, spec.Name)
			}
		case *ast.ValueSpec:
			if decl.Doc == nil && spec.Doc == nil && spec.Comment == nil {
				missing = append(missing, exported(spec.Names)...)
			}
		}
	}
	return missing
}

func exported(names []*ast.Ident) []*ast.Ident {
	return slices.DeleteFunc(slices.Clone(names), func(name *ast.Ident) bool { return !name.IsExported() })
}
