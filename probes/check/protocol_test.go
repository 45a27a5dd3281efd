package check_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
)

func TestBatchRoundTrip(t *testing.T) {
	var full []check.Request
	for i := range check.MaxItems {
		full = append(full, check.Request{Target: uint8(i % check.MaxTargets), MountID: uint64(i), Path: "/x"})
	}
	for _, batch := range [][]check.Request{
		{{Path: "/"}},
		{{MountID: 1<<64 - 1, Path: "/data/\x00\n"}, {Path: "/b", CanaryFile: "f", CanaryDirectory: "d/e"}},
		{{MountID: 7, Path: "/" + strings.Repeat("x", check.MaxPath-1), CanaryDirectory: strings.Repeat("y", check.MaxPath)}},
		full,
	} {
		b := check.EncodeBatch(batch)
		got, err := check.DecodeBatch(b)
		size := 1
		for _, r := range batch {
			size += r.Size()
		}
		if err != nil || !slices.Equal(got, batch) || len(b) != size {
			t.Errorf("%+v became %+v in %d bytes, %v", batch, got, len(b), err)
		}
	}
	one := check.EncodeBatch([]check.Request{{Path: "/"}})
	for name, b := range map[string][]byte{
		"empty": nil, "nothing asked": check.EncodeBatch(nil), "no path": check.EncodeBatch([]check.Request{{}}),
		"too many": check.EncodeBatch(append(full, check.Request{Path: "/"})),
		"too long": check.EncodeBatch([]check.Request{{Path: strings.Repeat("x", check.MaxPath+1)}}),
		"cut":      one[:len(one)-1], "more follows": append(one[:len(one):len(one)], 1),
		"other version": append([]byte{99}, one[1:]...),
	} {
		if got, err := check.DecodeBatch(b); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(check.EncodeBatch([]check.Request{{MountID: 3, Path: "/data", CanaryFile: "ready", CanaryDirectory: "sub"}, {Path: "/"}}))
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		batch, err := check.DecodeBatch(b)
		if err == nil && !bytes.Equal(check.EncodeBatch(batch), b) {
			t.Errorf("%x became %x", b, check.EncodeBatch(batch))
		}
	})
}

func TestMessageRoundTrip(t *testing.T) {
	for _, m := range []check.Message{
		{}, {Kind: check.KindHello, Undone: check.BoundingSet | check.Capabilities}, {Kind: check.KindDone},
	} {
		b := m.Encode()
		got, err := check.DecodeMessage(b)
		if err != nil || got != m || len(b) != check.MessageSize {
			t.Errorf("%+v became %+v in %d bytes, %v", m, got, len(b), err)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(check.Message{Kind: check.KindDone}.Encode())
	f.Add(check.Message{Undone: check.AmbientSet}.Encode())
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
		check.StageCanary: probes.OpCanary,
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
