package verdict_test

import (
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

func TestDescribe(t *testing.T) {
	mounted := probes.Observation{Target: data, FSType: "fuse.s3fs", Source: "s3fs", Operation: probes.OpStatfs}
	for _, tc := range []struct {
		name   string
		change func(*verdict.Failure)
		want   string
	}{
		{
			"an errno", func(f *verdict.Failure) { f.Observation.Cause, f.Observation.Errno = disconnected, syscall.ENOTCONN },
			"container app, /data (volume data, fuse.s3fs from s3fs): Disconnected (ENOTCONN from fstatfs), 2 looks since 2026-01-02T03:04:05Z",
		},
		{
			"a hang", func(f *verdict.Failure) { f.Observation.Cause = hung },
			"container app, /data (volume data, fuse.s3fs from s3fs): Hung (no answer to fstatfs), 2 looks since 2026-01-02T03:04:05Z",
		},
		{
			"a detail", func(f *verdict.Failure) {
				f.Observation = probes.Observation{Target: data, Cause: notMounted, Detail: "nothing is mounted there"}
			},
			"container app, /data (volume data): NotMounted (nothing is mounted there), 2 looks since 2026-01-02T03:04:05Z",
		},
		{
			"no more than a cause, one look", func(f *verdict.Failure) { f.Observation, f.Looks = probes.Observation{Target: data, Cause: stale}, 1 },
			"container app, /data (volume data): Stale, 1 look since 2026-01-02T03:04:05Z",
		},
		{
			"a time elsewhere", func(f *verdict.Failure) {
				f.Observation.Cause, f.Since = stale, epoch.In(time.FixedZone("east", 3600))
			},
			"container app, /data (volume data, fuse.s3fs from s3fs): Stale, 2 looks since 2026-01-02T03:04:05Z",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := verdict.Failure{Observation: mounted, Since: epoch, Looks: 2}
			tc.change(&f)
			if got := f.Describe(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// Text of a mount table and of a mount path is written by whoever makes the mount.
func TestDescribeCleansUntrustedText(t *testing.T) {
	for name, hostile := range map[string]string{
		"line breaks":    "a\nb\r\nc",
		"escapes":        "\x1b[31mred\x1b[0m",
		"zero bytes":     "a\x00b",
		"invalid UTF-8":  "a\xff\xfeb\xc3",
		"other order":    "a\u202eb\u2066c",
		"separators":     "a\u2028b\u2029c",
		"long":           strings.Repeat("x", 100_000),
		"long, of runes": strings.Repeat("é", 100_000),
		"long, invalid":  strings.Repeat("\xff", 100_000),
		"cut in a rune":  "x" + strings.Repeat("é", 200),
	} {
		t.Run(name, func(t *testing.T) {
			target := data
			target.Path = hostile
			for _, o := range []probes.Observation{
				{Target: target, FSType: hostile, Source: hostile, Cause: ioError, Detail: hostile},
				{Target: target, Cause: ioError, Detail: hostile},
			} {
				got := verdict.Failure{Observation: o}.Describe()
				if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("not printable: %q", got)
				}
				if len(got) > 1000 {
					t.Errorf("%d bytes do not fit into an event's note", len(got))
				}
			}
		})
	}
}

// A FUSE server's source may be a URL with a password in it, and many people can read events.
func TestDescribeLeavesSecretsOut(t *testing.T) {
	o := probes.Observation{Target: data, FSType: "fuse.davfs", Source: "https://me:hush@dav.example/x?sig=hush", Cause: ioError, Detail: "mount -o password=hush failed"}
	for _, got := range []string{verdict.Failure{Observation: o}.Describe(), verdict.DescribeMount(o), verdict.DescribeWarning(o), verdict.Finding(o)} {
		if strings.Contains(got, "hush") || !strings.Contains(got, "REDACTED") {
			t.Errorf("got %q", got)
		}
	}
}

func TestPlaceKeepsOrdinaryText(t *testing.T) {
	o := probes.Observation{Target: probes.Target{Container: "app", Volume: "v", Path: "/srv/données/日本 (1)"}, FSType: "nfs4", Source: "server:/export"}
	want := "container app, /srv/données/日本 (1) (volume v, nfs4 from server:/export)"
	if got := verdict.DescribeMount(o); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
