package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/controllers/status/web"
)

// patience bounds what takes seconds on an idle machine.
const patience = 2 * time.Minute

// tab is a browser's view of a node.
type tab struct {
	*testing.T
	ctx     context.Context
	running bool
	url     string

	mu       sync.Mutex
	node     status.Snapshot
	asked    int      // snapshots that were made
	problems []string // what the browser has complained about
}

// open starts a browser at the page of a node with one of everything. It skips where there is no browser.
func open(t *testing.T, query string) *tab {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs a browser: apt-get install chromium")
	}
	p := &tab{T: t}
	text, err := os.ReadFile(filepath.Join("..", "..", "controllers", "status", "testdata", "node.json"))
	must(t, err)
	must(t, json.Unmarshal(text, &p.node))
	server := httptest.NewServer(web.NewHandler(p.snapshot))
	t.Cleanup(server.Close)
	p.url = server.URL + web.Path

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.WindowSize(1400, 900), chromedp.WSURLReadTimeout(patience))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which refuses root
	}
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, leave := chromedp.NewContext(ctx)
	t.Cleanup(func() { leave(); end() })
	p.ctx = ctx
	p.run(command(log.Enable, cdp.Empty{}))
	must(t, chromedp.Listen(ctx, p.hear))
	p.run(chromedp.Navigate(p.url + query))
	p.until(ready)
	t.Cleanup(p.complain)
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p *tab) snapshot() status.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	return p.node
}

// change changes the node.
func (p *tab) change(f func(*status.Snapshot)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.node)
}

func (p *tab) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// hear notes errors of scripts, dialogs, and what the Content-Security-Policy has stopped.
func (p *tab) hear(event any) {
	problem := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = fmt.Sprintf("%+v", e.ExceptionDetails)
	case *log.EventEntryAdded:
		problem = e.Entry.Text
	case *page.EventJavascriptDialogOpening:
		problem = "dialog: " + e.Message
	}
	if problem != "" && !strings.Contains(problem, "favicon.ico") { // every browser asks for that
		p.mu.Lock()
		defer p.mu.Unlock()
		p.problems = append(p.problems, problem)
	}
}

func (p *tab) complain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, problem := range p.problems {
		p.Errorf("the browser says: %s", problem)
	}
}

// step is something to be done in the browser.
type step = chromedp.Action[chromedp.Void]

func (p *tab) run(steps ...step) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	if p.running {
		defer cancel()
	} else { // the first context is the browser's own
		cancel()
		ctx, p.running = p.ctx, true
	}
	must(p.T, chromedp.Do(ctx, steps...))
}

// command is a plain command of the DevTools protocol.
func command[P, R any](c cdp.Command[P, R], params P) step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// ready is true once the page is there.
const ready = `document.readyState === "complete" && document.getElementById("live") !== null`

// reload loads the page anew.
func (p *tab) reload() {
	p.Helper()
	p.run(chromedp.Reload())
	p.until(ready)
}

// eval evaluates an expression in the page.
func eval[T any](p *tab, expression string) T {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.Fatalf("%.200s: %v", expression, err)
	}
	return result
}

// until waits for an expression to be true in the page.
func (p *tab) until(expression string) {
	p.Helper()
	deadline, again := time.After(patience), time.NewTicker(100*time.Millisecond)
	defer again.Stop()
	for !eval[bool](p, expression) {
		select {
		case <-deadline:
			p.Fatalf("not within %s: %s", patience, expression)
		case <-again.C:
		}
	}
}

// rows returns the names of the pods that are shown, in their order.
func (p *tab) rows() []string {
	p.Helper()
	return eval[[]string](p, `[...document.querySelectorAll("#mounts + table tbody th")].map((e) => e.firstChild.textContent)`)
}

// scheme has the page be shown as for a reader of this taste, at this width.
func (p *tab) scheme(colours string, width int64) {
	p.Helper()
	p.run(
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}}}),
		command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1}),
	)
}

// picture keeps a screenshot for a person, where one is asked for.
func (p *tab) picture(name string) {
	p.Helper()
	folder := os.Getenv("MOUNTWARDEN_SCREENSHOTS")
	if folder == "" {
		return
	}
	image, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	must(p.T, err)
	must(p.T, os.MkdirAll(folder, 0o755))
	must(p.T, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s.png", name)), image, 0o644))
}
