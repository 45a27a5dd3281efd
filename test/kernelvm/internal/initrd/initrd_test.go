package initrd

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

// unpacked reads an archive: names in their order, and the content of each.
func unpacked(t *testing.T, text []byte) (names []string, content map[string]string) {
	t.Helper()
	content = map[string]string{}
	for at := 0; ; {
		if string(text[at:at+6]) != "070701" {
			t.Fatalf("no header at %d", at)
		}
		field := func(i int) int {
			n, err := strconv.ParseInt(string(text[at+6+8*i:at+14+8*i]), 16, 64)
			must(t, err)
			return int(n)
		}
		size, length := field(6), field(11)
		name := string(text[at+110 : at+110+length-1])
		body := (at + 110 + length + 3) &^ 3
		if name == "TRAILER!!!" {
			return names, content
		}
		names, content[name] = append(names, name), fmt.Sprintf("%o ", field(1))+string(text[body:body+size])
		at = (body + size + 3) &^ 3
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestArchive(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "tree/sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "tree/sub/file"), []byte("in a tree"), 0o755))
	var text bytes.Buffer
	a := New(&text)
	a.Console()
	a.Text("/etc/a", "hello")
	a.Text("etc/a", "again")
	a.Folder("/etc")
	a.Link("bin", "usr/bin")
	a.Tree("t", filepath.Join(dir, "tree"))
	must(t, a.Close())
	names, content := unpacked(t, text.Bytes())
	if want := []string{"dev", "dev/console", "etc", "etc/a", "bin", "t", "t/sub", "t/sub/file"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	for name, want := range map[string]string{
		"dev": "40755 ", "dev/console": "20600 ", "etc/a": "100644 hello", "bin": "120777 usr/bin", "t/sub/file": "100755 in a tree",
	} {
		if content[name] != want {
			t.Errorf("%s: %q, want %q", name, content[name], want)
		}
	}
}

func TestArchiveTellsTheFirstError(t *testing.T) {
	a := New(new(bytes.Buffer))
	a.File("x", "/no/such/file")
	a.Text("y", "z")
	a.Tree("z", "/no/such/folder")
	if err := a.Close(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("%v", err)
	}
}

// module is a file of the kernel that depends on others: an ELF file with a section .modinfo.
func module(depends string) []byte {
	info := "license=GPL\x00depends=" + depends + "\x00name=x\x00"
	const header, entry = 64, 64
	names := "\x00.modinfo\x00.shstrtab\x00"
	var out bytes.Buffer
	write := func(v any) { _ = binary.Write(&out, binary.LittleEndian, v) }
	write(elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1}, Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64),
		Version: 1, Shoff: uint64(header + len(info) + len(names)), Ehsize: header, Shentsize: entry, Shnum: 3, Shstrndx: 2,
	})
	out.WriteString(info + names)
	write(elf.Section64{})
	write(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: header, Size: uint64(len(info))})
	write(elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(header + len(info)), Size: uint64(len(names))})
	return out.Bytes()
}

func compressed(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	must(t, err)
	_, err = w.Write(text)
	must(t, errors.Join(err, w.Close()))
	return out.Bytes()
}

// kernelOf unpacks a kernel with two modules that need a third, one of them compressed, and one that is built in.
func kernelOf(t *testing.T) *Kernel {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"boot/vmlinuz-1":                    []byte("kernel"),
		"lib/modules/1/kernel/a/top-one.ko": module("base,built-in"),
		"lib/modules/1/kernel/b/two.ko.xz":  compressed(t, module("base")),
		"lib/modules/1/kernel/base.ko":      module(""),
		"lib/modules/1/modules.builtin":     []byte("kernel/x/built_in.ko\n"),
		"lib/modules/1/kernel/broken.ko":    []byte("not ELF"),
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
	}
	k, err := FindKernel(dir)
	must(t, err)
	if filepath.Base(k.Image) != "vmlinuz-1" {
		t.Errorf("boots %s", k.Image)
	}
	return k
}

func TestModulesComeInOrder(t *testing.T) {
	k := kernelOf(t)
	var text bytes.Buffer
	a := New(&text)
	must(t, a.Modules(k, "top_one", "two", "built-in", "top-one"))
	must(t, a.Close())
	_, content := unpacked(t, text.Bytes())
	if got := content["modules/order"]; got != "100644 base\ntop_one\ntwo\n" {
		t.Errorf("%q", got)
	}
	if !strings.HasPrefix(content["modules/two.ko"], "100644 \x7fELF") {
		t.Error("a module is still compressed")
	}
}

func TestModulesThatAreNot(t *testing.T) {
	k := kernelOf(t)
	a := New(new(bytes.Buffer))
	if err := a.Modules(k, "none"); !errors.Is(err, ErrModule) {
		t.Errorf("%v", err)
	}
	if err := a.Modules(k, "broken"); err == nil || !strings.Contains(err.Error(), "broken.ko") {
		t.Errorf("%v", err)
	}
	k.builtin = nil
	if err := a.Modules(k, "none"); err != nil {
		t.Errorf("the kernel does not tell what is built in: %v", err)
	}
	if _, err := FindKernel(t.TempDir()); err == nil {
		t.Error("no error where there is no kernel")
	}
}

func TestPrograms(t *testing.T) {
	if _, err := os.Stat("/etc/debian_version"); err != nil {
		t.Skipf("needs a machine that is laid out as Debian: %v", err)
	}
	shell, err := filepath.EvalSymlinks("/bin/sh")
	must(t, err)
	var text bytes.Buffer
	a := New(&text)
	if err := a.Programs("/", filepath.Base(shell)); err != nil {
		t.Fatal(err)
	}
	must(t, a.Close())
	names, _ := unpacked(t, text.Bytes())
	for _, want := range []string{"bin/" + filepath.Base(shell), "lib/x86_64-linux-gnu/libc.so.6", "lib64/ld-linux-x86-64.so.2"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
	if err := a.Programs("/", "no-such-program"); !errors.Is(err, ErrProgram) {
		t.Errorf("%v", err)
	}
}

// A link of an unpacked package leads to a place in it, not on the host.
func TestLinksStayInTheFolder(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755))
	must(t, os.Mkdir(filepath.Join(root, "bin"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "bin/real"), nil, 0o755))
	must(t, os.Symlink("/bin/real", filepath.Join(root, "usr/bin/absolute")))
	must(t, os.Symlink("../../bin/real", filepath.Join(root, "usr/bin/relative")))
	must(t, os.Symlink("loop", filepath.Join(root, "usr/bin/loop")))
	for _, name := range []string{"absolute", "relative"} {
		if got, err := find(root, name, "usr/bin"); err != nil || got != filepath.Join(root, "bin/real") {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := find(root, "loop", "usr/bin"); !errors.Is(err, ErrProgram) {
		t.Errorf("%v", err)
	}
}
