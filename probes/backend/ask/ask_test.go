package ask_test

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

func questions() []ask.Question {
	root := ask.Root{Proc: "/proc", PID: 1}
	return []ask.Question{
		{Volume: &ask.Volume{Root: root, Folder: "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv"}},
		{CSI: &ask.CSI{Root: root, Kubelets: []string{"/var/lib/kubelet", "/a b"}, Certain: true, Driver: "d.example.com"}},
		{CSI: &ask.CSI{Root: root}},
		{NFS: &ask.NFS{Server: "2001:db8::1", Port: 2049, Version: 4}},
		{NFS: &ask.NFS{Server: "\x00 \" \n"}},
	}
}

func TestQuestions(t *testing.T) {
	for _, q := range questions() {
		text, err := q.Encode()
		if err != nil {
			t.Fatal(err)
		}
		for _, reader := range []io.Reader{strings.NewReader(string(text)), iotest.OneByteReader(strings.NewReader(string(text) + "\n"))} {
			if got, err := ask.ReadQuestion(reader); err != nil || !reflect.DeepEqual(got, q) {
				t.Errorf("%s became %+v, %v", text, got, err)
			}
		}
	}
	if _, err := (ask.Question{NFS: &ask.NFS{Server: strings.Repeat("x", 64<<10)}}).Encode(); err == nil || !strings.Contains(err.Error(), "65536") {
		t.Errorf("a question that does not fit: %v", err)
	}
}

func TestQuestionsThatAreNone(t *testing.T) {
	for name, row := range map[string]struct{ text, words string }{
		"nothing":      {"", "EOF"},
		"blank":        {" \n", "EOF"},
		"of nothing":   {"{}", "0 among volume, csi and nfs"},
		"null":         {"null", "0 among"},
		"of two":       {`{"nfs":{"server":"a"},"csi":{}}`, "2 among"},
		"unknown key":  {`{"smb":{}}`, "smb"},
		"unknown part": {`{"nfs":{"server":"a","user":"b"}}`, "user"},
		"wrong type":   {`{"nfs":{"server":"a","port":"b"}}`, "port"},
		"list":         {`[]`, "not understood"},
		"cut":          {`{"nfs":{"server":"a"`, "not understood"},
		"two of them":  {`{"nfs":{"server":"a"}}{"nfs":{"server":"a"}}`, "follow it"},
		"garbage":      {`{"nfs":{"server":"a"}} x`, "follow it"},
		"too large":    {strings.Repeat(" ", 64<<10) + `{"nfs":{}}`, "65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if q, err := ask.ReadQuestion(strings.NewReader(row.text)); err == nil || !strings.Contains(err.Error(), row.words) {
				t.Errorf("%+v, %v", q, err)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := ask.ReadQuestion(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestAnswers(t *testing.T) {
	for _, a := range []ask.Answer{
		{},
		{MountReadiness: probes.MountReadiness{Readiness: probes.Ready, Detail: "it answers"}},
		{MountReadiness: probes.MountReadiness{Readiness: probes.NotReady, Detail: "<\"\n\x00\u2028>"}},
		{Driver: "d.example.com"},
	} {
		text, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ask.ReadAnswer(strings.NewReader(string(text))); err != nil || got != a {
			t.Errorf("%s became %+v, %v", text, got, err)
		}
	}
}

// What drivers and servers say is cut, and never makes an answer that cannot be read.
func TestLongAnswers(t *testing.T) {
	for _, detail := range []string{strings.Repeat("x", 1<<20), strings.Repeat("\x00", 1<<20), strings.Repeat("é", 1000), strings.Repeat("\xff", 9000), "a\xffb"} {
		text, err := ask.Answer{MountReadiness: probes.MountReadiness{Detail: detail}}.Encode()
		if err != nil || len(text) > ask.MaxAnswer {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
		got, err := ask.ReadAnswer(strings.NewReader(string(text)))
		if said := got.MountReadiness.Detail; err != nil || len(said) > 520 || !utf8.ValidString(said) || said == "" {
			t.Errorf("%q, %v", said, err)
		}
	}
	if _, err := (ask.Answer{Driver: strings.Repeat("d", 257)}).Encode(); err == nil {
		t.Error("a driver's name of any length is passed on")
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, row := range map[string]struct{ text, words string }{
		"nothing":           {"", "EOF"},
		"of nothing":        {"{}", `readiness ""`},
		"another readiness": {`{"readiness":"ready","detail":""}`, `"ready" is none`},
		"number":            {`{"readiness":1}`, "readiness"},
		"unknown key":       {`{"readiness":"Ready","healthy":true}`, "healthy"},
		"log line before":   {"panic: x\n{\"readiness\":\"Ready\"}", "not understood"},
		"log line behind":   {"{\"readiness\":\"Ready\"}\npanic: x\n", "follow it"},
		"two of them":       {`{"readiness":"Ready"}{"readiness":"NotReady"}`, "follow it"},
		"too large":         {`{"readiness":"Ready","detail":"` + strings.Repeat("x", ask.MaxAnswer) + `"}`, "8192 bytes"},
		"endless":           {strings.Repeat("{", 100_000), "8192 bytes"},
		"driver too long":   {`{"readiness":"Unclear","driver":"` + strings.Repeat("d", 257) + `"}`, "257 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := ask.ReadAnswer(strings.NewReader(row.text))
			if err == nil || !strings.Contains(err.Error(), row.words) || a != (ask.Answer{}) {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

// FuzzReadAnswer reads what a program may say that a driver has taken over.
func FuzzReadAnswer(f *testing.F) {
	f.Add(`{"readiness":"NotReady","detail":"x"}`)
	f.Add(`{"readiness":"Unclear","detail":"","driver":"d"}`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ask.ReadAnswer(strings.NewReader(text))
		if err != nil {
			if a != (ask.Answer{}) {
				t.Fatalf("%+v beside %v", a, err)
			}
			return
		}
		again, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ask.ReadAnswer(strings.NewReader(string(again))); err != nil || got != a {
			t.Errorf("%q became %+v, then %+v, %v", text, a, got, err)
		}
	})
}
