package initrd

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// ErrModule is wrapped when a kernel lacks a module.
var ErrModule = errors.New("the kernel has no such module")

// Kernel is an unpacked kernel package.
type Kernel struct {
	Image   string            // the file to boot
	modules map[string]string // name, with underscores -> file
	builtin map[string]bool   // nil where the packages do not tell
}

// FindKernel looks into the folder that a kernel's packages were unpacked into.
func FindKernel(dir string) (*Kernel, error) {
	k := &Kernel{modules: map[string]string{}}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		base := filepath.Base(file)
		switch name, _, isModule := strings.Cut(base, ".ko"); {
		case strings.HasPrefix(base, "vmlinuz"):
			k.Image = file
		case isModule:
			k.modules[underscores(name)] = file
		case base == "modules.builtin":
			return k.builtins(file)
		}
		return nil
	})
	if err == nil && k.Image == "" {
		err = fmt.Errorf("no kernel in %s; remove that folder to have it fetched anew", dir)
	}
	return k, err
}

func (k *Kernel) builtins(file string) error {
	text, err := os.ReadFile(file)
	k.builtin = map[string]bool{}
	for line := range strings.Lines(string(text)) {
		k.builtin[underscores(strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko"))] = true
	}
	return err
}

func underscores(name string) string { return strings.ReplaceAll(name, "-", "_") }

// Modules adds modules and what they depend on below /modules, and their names to /modules/order. Those that are built into the
// kernel need no file; where it does not tell which ones are, that is believed of those that have none.
func (a *Archive) Modules(k *Kernel, names ...string) error {
	var order []string
	for _, name := range names {
		if err := a.module(k, underscores(name), &order); err != nil {
			return err
		}
	}
	a.Text("modules/order", strings.Join(order, "\n")+"\n")
	return nil
}

// module adds one after those that it depends on.
func (a *Archive) module(k *Kernel, name string, order *[]string) error {
	place := "modules/" + name + ".ko"
	if k.builtin[name] || a.there[place] {
		return nil
	}
	file, ok := k.modules[name]
	if !ok && k.builtin == nil {
		return nil
	}
	if !ok {
		return fmt.Errorf("%w: %s", ErrModule, name)
	}
	image, err := uncompressed(file)
	if err != nil {
		return err
	}
	needed, err := dependencies(image)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, other := range needed {
		if err := a.module(k, underscores(other), order); err != nil {
			return err
		}
	}
	a.Text(place, string(image))
	*order = append(*order, name)
	return nil
}

// uncompressed reads a module: Debian compresses those of newer kernels.
func uncompressed(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var content io.Reader = f
	if strings.HasSuffix(file, ".xz") {
		if content, err = xz.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return io.ReadAll(content)
}

func dependencies(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if names, ok := strings.CutPrefix(field, "depends="); ok && names != "" {
			return strings.Split(names, ","), nil
		}
	}
	return nil, nil
}
