package faultfs

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

const mountinfo = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:41 / /mnt/a rw,nosuid - fuse.faultfs faultfs rw,user_id=0
41 22 0:42 / /mnt/with\040space\134\011\012 rw - fuse.s3 bucket rw
42 40 0:43 / /mnt/a rw - fuse.faultfs again rw
43 22 0:44 / /mnt/tmp rw - tmpfs tmpfs rw
44 22 0:45 / /mnt/b rw - fuse.faultfs b rw
45 44 0:46 / /mnt/b rw - tmpfs over rw
46 22 8:2 / /mnt/blk rw - fuse.blk /dev/sda2 rw
torn line
`

func TestFindConnection(t *testing.T) {
	for mountpoint, want := range map[string]int{
		"/mnt/a":                 43, // the last line is on top
		"/mnt/with space\\\t\n":  42,
		"/mnt/tmp":               -1,
		"/mnt/b":                 -1, // hidden below another file system
		"/mnt/blk":               -1, // no anonymous device
		"/mnt":                   -1,
		`/mnt/with\040space\134`: -1,
	} {
		got, err := findConnection(strings.NewReader(mountinfo), mountpoint)
		switch {
		case want < 0 && !errors.Is(err, ErrNotMounted):
			t.Errorf("%q: got %d, %v, want ErrNotMounted", mountpoint, got, err)
		case want >= 0 && (err != nil || got != want):
			t.Errorf("%q: got %d, %v, want %d", mountpoint, got, err, want)
		}
	}
}

// Whatever the table holds, a line below it is on top.
func FuzzFindConnection(f *testing.F) {
	f.Add(mountinfo, "/mnt/a")
	f.Add("1 2 0:3 / /x rw - fuse.x", "/x y")
	f.Add("", "\\\t")
	f.Add("", "-")
	escape := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)
	f.Fuzz(func(t *testing.T, text, mountpoint string) {
		n, err := findConnection(strings.NewReader(text), mountpoint)
		if n < 0 || (err != nil && !errors.Is(err, ErrNotMounted)) {
			t.Errorf("got %d, %v", n, err)
		}
		text += "\n99 1 0:77 / " + escape.Replace(mountpoint) + " rw - fuse.x x rw\n"
		if n, err := findConnection(strings.NewReader(text), mountpoint); err != nil || n != 77 {
			t.Errorf("with a line below: got %d, %v, want 77", n, err)
		}
	})
}

func TestOptionsSurviveTheCommandLine(t *testing.T) {
	for _, want := range []Options{
		{Mountpoint: "/m", Control: "/c", Canary: "canary", Source: "faultfs", BackendGrace: DefaultBackendGrace},
		{
			Mountpoint: "/a b/=", Control: "/c,d", Canary: "-x", Content: "two\nlines \"quoted\" =", Source: "s3://bucket",
			OwnerOnly: true, Owner: 1000, ReadOnly: true, CacheFor: 90 * time.Minute, Backend: "/a b/backend", BackendGrace: time.Minute,
		},
	} {
		got, err := parseOptions(want.args())
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestEmptyOptionsTakeDefaults(t *testing.T) {
	got, err := parseOptions((&Options{Mountpoint: "/m", Control: "/c"}).args())
	if err != nil || got.Canary != DefaultCanary || got.Source != DefaultSource {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestOptionsRefuse(t *testing.T) {
	good := []string{"--mountpoint=/m", "--control=/c"}
	for arg, named := range map[string]string{
		"--mountpoint=m":                         `"m"`,
		"--control=c":                            `"c"`,
		"--control=/" + strings.Repeat("x", 107): "107",
		"--canary=a/b":                           `"a/b"`,
		"--canary=..":                            `".."`,
		"--cache-for=-1s":                        "-1s",
		"--cache-for=long":                       "long",
		"--backend=relative":                     `"relative"`,
		"--backend-grace=-1s":                    "-1s",
		"--colour=red":                           "colour",
		"extra":                                  `"extra"`,
		"--allow-other=perhaps":                  "perhaps",
		"--owner=-1":                             `"-1"`,
		"--owner=4294967295":                     "4294967295",
		"--mountpoint=":                          `""`,
		"--control=relative/" + strings.Repeat("x", 3): "relative",
	} {
		_, err := parseOptions(append(good[:2:2], arg))
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), named) {
			t.Errorf("%s: got %v, want an ErrUsage that names %s", arg, err, named)
		}
	}
}

func TestHelpIsNoMistake(t *testing.T) {
	_, err := parseOptions([]string{"--help"})
	if !errors.Is(err, flag.ErrHelp) || errors.Is(err, ErrUsage) {
		t.Errorf("got %v, want flag.ErrHelp alone", err)
	}
	if code := ExitCode(err); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
}

func TestExitCode(t *testing.T) {
	for want, err := range map[int]error{0: nil, 1: errors.New("broken"), 2: UsageError(errors.New("typo"))} {
		if got := ExitCode(err); got != want {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
}

func TestParseFaultWords(t *testing.T) {
	for text, want := range map[string]struct {
		op    Op
		fault Fault
	}{
		"hang":             {All, Hang()},
		"hang read":        {Read, Hang()},
		"error EIO":        {All, Fail(5)},
		"error EIO statfs": {Statfs, Fail(5)},
		"slow 2s lookup":   {Lookup, Slow(2 * time.Second)},
	} {
		op, fault, err := parseFaultWords(strings.Fields(text))
		if err != nil || op != want.op || fault != want.fault {
			t.Errorf("%q: got %v %v, %v", text, op, fault, err)
		}
	}
	for _, text := range []string{"none", "hang chmod", "hang read now", "error", "error read EIO", "slow 2s read now", "slow"} {
		if op, fault, err := parseFaultWords(strings.Fields(text)); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: got %v %v, %v, want an ErrUsage", text, op, fault, err)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tail tailBuffer
	for range 3 * tailSize / 4 {
		if n, err := tail.Write([]byte("abcd")); n != 4 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	if n, err := tail.Write([]byte("end")); n != 3 || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if got := tail.String(); len(got) != tailSize || !strings.HasSuffix(got, "abcdend") {
		t.Errorf("kept %d bytes that end in %q", len(got), got[max(0, len(got)-10):])
	}
}
