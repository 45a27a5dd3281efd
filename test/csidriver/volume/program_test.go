package volume

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

func TestProgramLine(t *testing.T) {
	v := inline("a", "data")
	if line, err := programLine(v, "/cache"); line != nil || err != nil {
		t.Errorf("of faultfs: %q, %v", line, err)
	}
	v.Content = Content{Program: "rclone", URL: "http://192.0.2.1:80", Flags: " --low-level-retries  15 "}
	for _, readOnly := range []bool{false, true} {
		v.ReadOnly = readOnly
		line, err := programLine(v, "/cache")
		if err != nil || slices.Contains(line, "--read-only") != readOnly {
			t.Fatalf("read-only %t: %q, %v", readOnly, line, err)
		}
		text := strings.Join(line, " ")
		if end := " --low-level-retries 15 :webdav: " + v.Path; !strings.HasSuffix(text, end) {
			t.Errorf("%q does not end in %q", text, end)
		}
		for _, want := range []string{"rclone mount ", " --cache-dir /cache ", " --webdav-url http://192.0.2.1:80 "} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in %q", want, text)
			}
		}
	}
}

func TestProgramLineRefuses(t *testing.T) {
	for named, content := range map[string]Content{
		`"sshfs"`:      {Program: "sshfs", URL: "http://192.0.2.1"},
		`url ""`:       {Program: "rclone"},
		`url "http:x"`: {URL: "http:x"},
		`flags "-v"`:   {Flags: "-v"},
	} {
		v := inline("a", "data")
		v.Content = content
		if line, err := programLine(v, "/cache"); !errors.Is(err, faultfs.ErrUsage) || !strings.Contains(err.Error(), named) {
			t.Errorf("%+v: %q, %v, want an ErrUsage that names %s", content, line, err, named)
		}
	}
}
