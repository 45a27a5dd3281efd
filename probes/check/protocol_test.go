package check_test

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
)

func TestRequestRoundTrip(t *testing.T) {
	for _, r := range []check.Request{
		{Path: "/"},
		{MountID: 1<<64 - 1, Path: "/data/\x00\n"},
		{MountID: 7, Path: "/" + strings.Repeat("x", check.MaxPath-1)},
	} {
		got, err := check.DecodeRequest(r.Encode())
		if err != nil || got != r {
			t.Errorf("%+v became %+v, %v", r, got, err)
		}
	}
	long := check.Request{Path: strings.Repeat("x", check.MaxPath+1)}
	for name, b := range map[string][]byte{"empty": nil, "no path": check.Request{}.Encode(), "too long": long.Encode(),
		"other version": append([]byte{99}, check.Request{Path: "/"}.Encode()[1:]...)} {
		if got, err := check.DecodeRequest(b); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestMessageRoundTrip(t *testing.T) {
	for _, m := range []check.Message{
		{},
		{Kind: check.KindHello, Undone: check.BoundingSet | check.Capabilities},
		{Kind: check.KindProgress, Answer: check.Answer{Stage: check.StageStatfs}},
		{Kind: check.KindAnswer, Answer: check.Answer{Stage: check.StageStatx, Errno: syscall.ENOTCONN, MountID: 1<<64 - 1}},
		{Kind: check.KindAnswer, Answer: check.Answer{MountRoot: true}},
		{Kind: check.KindAnswer, Answer: check.Answer{Mismatch: true}},
		{Kind: check.KindAnswer, Answer: check.Answer{Unasked: true}},
		{Kind: check.KindAnswer, Answer: check.Answer{Unlinked: true}},
		{Kind: check.KindAnswer, Answer: check.Answer{NoSpace: true}},
	} {
		b := m.Encode()
		got, err := check.DecodeMessage(b)
		if err != nil || got != m || len(b) != check.MessageSize {
			t.Errorf("%+v became %+v in %d bytes, %v", m, got, len(b), err)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(check.Message{Kind: check.KindAnswer, Answer: check.Answer{Stage: check.StageStatx, MountRoot: true}}.Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := check.DecodeMessage(b)
		if err == nil && !bytes.Equal(m.Encode(), b) {
			t.Errorf("%x became %x", b, m.Encode())
		}
	})
}

func TestOperation(t *testing.T) {
	for stage, want := range map[check.Stage]probes.Operation{
		check.StageRoot: probes.OpOpen, check.StageOpen: probes.OpOpen, check.StageIdentify: probes.OpOpen,
		check.StageStatfs: probes.OpStatfs, check.StageStatx: probes.OpStatx,
	} {
		if got := stage.Operation(); got != want {
			t.Errorf("stage %d is %s, want %s", stage, got, want)
		}
	}
}

func TestPrivilegeString(t *testing.T) {
	for p, want := range map[check.Privilege]string{
		0: "", check.NewPrivileges: "new privileges", check.BoundingSet | check.Capabilities: "bounding set, capabilities",
		check.AmbientSet: "ambient set",
	} {
		if got := p.String(); got != want {
			t.Errorf("%d: %q, want %q", p, got, want)
		}
	}
}
