package node

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func TestNodeReady(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"ready", `{"status":{"conditions":[{"type":"DiskPressure","status":"False"},{"type":"Ready","status":"True"}]}}`, ""},
		{"not ready", `{"status":{"conditions":[{"type":"Ready","status":"False","message":"no network"}]}}`, "not Ready: no network"},
		{"unknown", `{"status":{"conditions":[{"type":"Ready","status":"Unknown","message":"lost"}]}}`, "not Ready: lost"},
		{"no condition", `{"status":{}}`, "no Ready condition"},
		{"not a node", `not json`, "read node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := nodeReady([]byte(c.body))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestGet(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the reason", status)
	}))
	defer server.Close()
	check := get(server.URL)
	if err := check(context.Background()); err != nil {
		t.Error(err)
	}
	status = http.StatusServiceUnavailable
	if err := check(context.Background()); err == nil || !strings.Contains(err.Error(), "503 Service Unavailable: the reason") {
		t.Errorf("got %v", err)
	}
	server.Close()
	if err := check(context.Background()); err == nil {
		t.Error("ready with no server")
	}
}

func TestDial(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	check := dial(socket)
	if err := check(context.Background()); err == nil {
		t.Error("ready with no socket")
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := check(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestAllStopsAtTheFirstThatIsNot(t *testing.T) {
	first, calls := errors.New("first"), 0
	ok := func(context.Context) error { calls++; return nil }
	again := ok
	bad := func(context.Context) error { return first }
	if err := all(ok, bad, again)(context.Background()); !errors.Is(err, first) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
	if err := all(ok, again)(context.Background()); err != nil || calls != 3 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestAdministratorIsKnownToTheServer(t *testing.T) {
	l := written(t)
	config, err := l.adminTLS()
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Certificates) != 1 || config.RootCAs == nil {
		t.Errorf("%+v", config)
	}
	empty, err := NewLayout("unit", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := empty.askAPI("/readyz")(context.Background()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with no certificates: %v", err)
	}
}
