package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/mountwarden/mountwarden/controllers/internal/golden"
	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/controllers/status/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden file anew")

// node is one of everything; package status makes the file.
func node(t *testing.T) (s status.Snapshot) {
	t.Helper()
	golden.Decode(t, filepath.Join("..", "testdata", "node.json"), &s)
	return s
}

// ask asks a node with one of everything, as a browser at localhost would.
func ask(t *testing.T, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	return askOf(t, node(t), target, change...)
}

func askOf(t *testing.T, s status.Snapshot, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	request.Host = "localhost:8082"
	for _, c := range change {
		c(request)
	}
	recorder := httptest.NewRecorder()
	web.NewHandler(func() status.Snapshot { return s }).ServeHTTP(recorder, request)
	return recorder
}

func accept(kinds string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Accept", kinds) }
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

func TestPage(t *testing.T) {
	golden.Check(t, filepath.Join("testdata", "node.html"), ask(t, "/statusz").Body.String(), *update)
}

func TestPageOfNothing(t *testing.T) {
	text := askOf(t, status.Snapshot{Node: "node-1"}, "/statusz").Body.String()
	for _, words := range []string{"nothing is watched", `mountwarden.io/watch: &#34;true&#34;`, "No pod stays", "None since the agent started", "none yet"} {
		if !strings.Contains(text, words) {
			t.Errorf("does not say %q", words)
		}
	}
}

func TestKindsOfAnswer(t *testing.T) {
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, tc := range []struct{ target, accept, want string }{
		{"/statusz", "", "text/html; charset=utf-8"},
		{"/statusz", "*/*", "text/html; charset=utf-8"},
		{"/statusz", browser, "text/html; charset=utf-8"},
		{"/statusz", "text/html, application/json", "text/html; charset=utf-8"},
		{"/statusz", "application/json", "application/json"},
		{"/statusz.json", browser, "application/json"},
		{"/statusz.json?namespace=db", "", "application/json"},
	} {
		response := ask(t, tc.target, accept(tc.accept))
		if got := response.Header().Get("Content-Type"); got != tc.want || response.Code != http.StatusOK {
			t.Errorf("%s with %q: %d, %s, want %s", tc.target, tc.accept, response.Code, got, tc.want)
		}
		if tc.want == "application/json" && !json.Valid(response.Body.Bytes()) {
			t.Errorf("%s: no JSON", tc.target)
		}
	}
}

func TestJSONIsTheSnapshot(t *testing.T) {
	var got status.Snapshot
	if err := json.Unmarshal(ask(t, "/statusz.json").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(node(t), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFilters(t *testing.T) {
	text := ask(t, "/statusz?namespace=db&state=Suspect").Body.String()
	for words, want := range map[string]bool{
		"hung": true, "once-more": true, "settling": false, ">full<": false,
		`<input name="namespace" value="db"`: true, `<option selected>Suspect</option>`: true, "<option>Failed</option>": true,
	} {
		if strings.Contains(text, words) != want {
			t.Errorf("%q is shown: %v, want %v", words, !want, want)
		}
	}
	if text := ask(t, "/statusz?pod=nobody").Body.String(); !strings.Contains(text, "The filter leaves none") {
		t.Error("does not say that the filter leaves nothing")
	}
	for _, query := range []string{"state=Dead", "pod=a/b/c", "namespace=a&pod=b/c"} {
		if response := ask(t, "/statusz?"+query); response.Code != http.StatusBadRequest {
			t.Errorf("%s: %v", query, response.Code)
		}
	}
}

// A name that was bound to 127.0.0.1 by a stranger is not answered.
func TestStrangersAreRefused(t *testing.T) {
	for name, want := range map[string]int{
		"localhost": 200, "LOCALHOST:1": 200, "127.0.0.1": 200, "127.0.0.1:8082": 200, "127.9.9.9:1": 200, "[::1]:8082": 200, "[::1]": 200,
		"": 403, "evil.example": 403, "evil.example:8082": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, "10.0.0.1:8082": 403,
		"0.0.0.0:8082": 403, "[fd00::1]:8082": 403, "node-1": 403, "localhost:1:2": 403, "2130706433": 403, "0x7f.1": 403,
	} {
		for _, target := range []string{"/statusz", "/statusz.json", "/", "/elsewhere"} {
			response := ask(t, target, host(name))
			if refused := response.Code == http.StatusForbidden; refused != (want == 403) {
				t.Errorf("Host %q, %s: %v", name, target, response.Code)
			}
			if text := response.Body.String(); want == 403 && strings.Contains(text, "node-1:") {
				t.Errorf("Host %q reads %q", name, text)
			}
		}
	}
}

func TestPlaces(t *testing.T) {
	if response := ask(t, "/"); response.Code != http.StatusFound || response.Header().Get("Location") != "/statusz" {
		t.Errorf("/ leads to %d %q", response.Code, response.Header().Get("Location"))
	}
	for _, target := range []string{"/nowhere", "/statusz/", "/statusz/x", "/debug/pprof/", "/metrics"} {
		if response := ask(t, target); response.Code != http.StatusNotFound {
			t.Errorf("%s: %v", target, response.Code)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, target := range []string{"/statusz", "/statusz.json", "/nowhere", "/statusz?state=x"} {
		header := ask(t, target).Header()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
		for _, part := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"} {
			if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy, part) || strings.Contains(policy, "unsafe") {
				t.Errorf("%s: policy %q lacks %s", target, policy, part)
			}
		}
	}
	for _, target := range []string{"/statusz", "/statusz.json"} {
		if got := ask(t, target).Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control %q", target, got)
		}
	}
}

// The policy allows the page's own style and script, as a browser hashes them, and there are no
// others.
func TestPolicyAllowsThePage(t *testing.T) {
	response := ask(t, "/statusz")
	policy, text := response.Header().Get("Content-Security-Policy"), response.Body.String()
	for kind, element := range map[string]*regexp.Regexp{
		"style-src": regexp.MustCompile(`(?s)<style>(.*?)</style>`), "script-src": regexp.MustCompile(`(?s)<script>(.*?)</script>`),
	} {
		found := element.FindAllStringSubmatch(text, -1)
		if len(found) != 1 {
			t.Fatalf("%d elements of %s", len(found), kind)
		}
		sum := sha256.Sum256([]byte(found[0][1]))
		if want := kind + " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %s", policy, want)
		}
	}
	for _, forbidden := range []*regexp.Regexp{
		regexp.MustCompile(`\son[a-z]+=`), regexp.MustCompile(`\sstyle=`), regexp.MustCompile(`(src|href)="(https?:)?//`), regexp.MustCompile(`@import|url\(`),
	} {
		if at := forbidden.FindString(text); at != "" {
			t.Errorf("the page has %q, which the policy forbids", at)
		}
	}
}

// Whatever a name holds, it stays text.
func TestHostileNamesStayText(t *testing.T) {
	s := node(t)
	const evil = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}\x1b\u202e\x00"
	s.Node, s.Agent.Version, s.Agent.Kernel = evil, evil, evil
	for i := range s.Pods {
		p := &s.Pods[i]
		p.Namespace, p.Name, p.Problem = evil, evil, evil
		for j := range p.Mounts {
			m := &p.Mounts[j]
			m.Container, m.Volume, m.MountPoint, m.FSType, m.Source, m.Finding, m.Backend = evil, evil, evil, evil, evil, evil, evil
		}
	}
	for i := range s.Removals {
		s.Removals[i].Pod, s.Removals[i].Stuck, s.Removals[i].Successor, s.Removals[i].Backend = evil, evil, evil, evil
	}
	text := askOf(t, s, "/statusz?namespace="+"%22%3E%3Cscript%3Ealert(1)%3C/script%3E").Body.String()
	text += askOf(t, s, "/statusz").Body.String()
	if n := strings.Count(text, "<script"); n != 2 {
		t.Errorf("%d scripts in two pages", n)
	}
	if strings.Contains(text, "<img") || !strings.Contains(text, "&lt;img") {
		t.Error("a name became an element")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%q is in the page", text[i:i+10])
	}
}

// Elements that the script and assistive technology find by id exist once.
func TestIDs(t *testing.T) {
	text := ask(t, "/statusz").Body.String()
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if seen[m[1]] || strings.ContainsAny(m[1], " ") {
			t.Errorf("id %q is there twice, or has spaces", m[1])
		}
		seen[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?:aria-labelledby="|getElementById\(")([a-z]+)"`).FindAllStringSubmatch(text, -1) {
		if !seen[m[1]] {
			t.Errorf("there is no element %q", m[1])
		}
	}
}

func TestOverTheWire(t *testing.T) {
	server := httptest.NewServer(web.NewHandler(func() status.Snapshot { return node(t) }))
	defer server.Close()
	response, err := server.Client().Get(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || !strings.HasSuffix(strings.TrimSpace(string(text)), "</html>") {
		t.Errorf("%s, %v and %d bytes", response.Status, err, len(text))
	}
}

func BenchmarkPage(b *testing.B) {
	s := status.Snapshot{Summary: status.Summary{Pods: 1}, Pods: []status.Pod{{Namespace: "a", Name: "b", UID: "c"}}}
	for range 1100 {
		s.Pods[0].Mounts = append(s.Pods[0].Mounts, status.Mount{Container: "app", Volume: "data", MountPoint: "/data", State: "Healthy", Transitions: make([]status.Transition, 1)})
	}
	handler := web.NewHandler(func() status.Snapshot { return s })
	request := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/statusz", http.NoBody)
	request.Host = "localhost"
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}
}
