package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func run(args ...string) (string, error) {
	var out bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.Execute()
	return out.String(), err
}

func tree(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		path := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEachPlatformHasItsOwnFiles(t *testing.T) {
	dir := tree(t, "amd64/tool", "arm64/tool")
	output := filepath.Join(dir, "image.tar")
	out, err := run("--ref", "tool:dev", "--output", output, "--entrypoint", "/tool", "--user", "0",
		"--platform", "linux/amd64="+dir+"/amd64", "--platform", "linux/arm64="+dir+"/arm64", "tool:/tool")
	if err != nil || !strings.Contains(out, "tool:dev  sha256:") {
		t.Fatalf("%s %v", out, err)
	}
	if info, err := os.Stat(output); err != nil || info.Size() == 0 {
		t.Errorf("%v %v", info, err)
	}
}

func TestOnePlatformIsTheDefault(t *testing.T) {
	dir := tree(t, "tool")
	out, err := run("--ref", "tool:dev", "--output", dir+"/image.tar", dir+"/tool:/tool")
	if err != nil {
		t.Errorf("%s %v", out, err)
	}
}

func TestRefusals(t *testing.T) {
	dir := tree(t, "tool")
	file, output := dir+"/tool:/tool", "--output="+dir+"/image.tar"
	for name, args := range map[string][]string{
		"no reference": {output, file},
		"no output":    {"--ref=tool:dev", file},
		"no file":      {"--ref=tool:dev", output},
		"bad platform": {"--ref=tool:dev", output, "--platform=amd64", file},
		"missing file": {"--ref=tool:dev", output, "--platform=linux/arm64=" + dir + "/none", "tool:/tool"},
	} {
		if out, err := run(args...); err == nil {
			t.Errorf("%s: no error: %s", name, out)
		}
		if _, err := os.Stat(dir + "/image.tar"); err == nil {
			t.Errorf("%s: there is a tarball", name)
		}
	}
}

func TestHelpExplainsTheArguments(t *testing.T) {
	out, err := run("--help")
	for _, want := range []string{"SOURCE:PATH:MODE", "OS/ARCH[=DIR]", "--entrypoint"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%q is missing in the help: %v", want, err)
		}
	}
}
