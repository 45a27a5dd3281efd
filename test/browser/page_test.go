package browser

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/mountwarden/mountwarden/controllers/status"
)

func TestItRenders(t *testing.T) {
	p := open(t, "")
	if got, want := eval[string](p, `document.getElementById("news").textContent`), p.node.Headline(); got != want {
		t.Errorf("headline %q, want %q", got, want)
	}
	if got, want := len(p.rows()), len(p.node.Rows()); got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
	if colour := eval[string](p, `getComputedStyle(document.querySelector(".Failed")).color`); colour != "rgb(164, 18, 31)" {
		t.Errorf("what has failed is %s: the style is not in force", colour)
	}
	if eval[bool](p, `document.getElementById("pause").hidden`) {
		t.Error("the script does not run")
	}
}

// It comes up to date by itself, and what a person is doing stays: the text in a filter, the focus, what is unfolded.
func TestItKeepsUpToDate(t *testing.T) {
	p := open(t, "")
	p.run(chromedp.Click(chromedp.CSS("summary")), chromedp.Focus(chromedp.CSS(`input[name="namespace"]`)), chromedp.SendKeys(chromedp.CSS(`input[name="namespace"]`), "sh"))
	p.change(func(s *status.Snapshot) {
		s.Summary.Failed = 42
		s.Pods = slices.Clone(s.Pods)[:3]
	})
	p.until(`document.getElementById("news").textContent.includes("42 Failed")`)
	if got := len(p.rows()); got != 3 {
		t.Errorf("%d rows, want 3", got)
	}
	if title := eval[string](p, "document.title"); !strings.HasPrefix(title, "42 failed") {
		t.Errorf("title %q", title)
	}
	if got := eval[string](p, `document.activeElement.name + "=" + document.activeElement.value`); got != "namespace=sh" {
		t.Errorf("the focus and its text are %q", got)
	}
	if n := eval[int](p, `document.querySelectorAll("details[open]").length`); n != 1 {
		t.Errorf("%d histories are unfolded, want the one that was", n)
	}
	p.run(chromedp.Focus(chromedp.CSS("summary")))
	p.change(func(s *status.Snapshot) { s.Summary.Failed = 43 })
	p.until(`document.getElementById("news").textContent.includes("43 Failed")`)
	if got := eval[string](p, "document.activeElement.tagName"); got != "SUMMARY" {
		t.Errorf("the focus has moved to %s", got)
	}
}

// Nobody is asked while a person has paused it; afterwards it goes on.
func TestItPauses(t *testing.T) {
	p := open(t, "")
	p.run(chromedp.Click(chromedp.CSS("#pause")))
	p.until(`document.getElementById("pause").getAttribute("aria-pressed") === "true"`)
	before := p.requests()
	eval[any](p, `document.dispatchEvent(new Event("visibilitychange")); new Promise((done) => setTimeout(done, 6000))`)
	if got := p.requests(); got != before {
		t.Errorf("asked %d times while it is paused", got-before)
	}
	p.change(func(s *status.Snapshot) { s.Summary.Failed = 42 })
	p.run(chromedp.Click(chromedp.CSS("#pause")))
	p.until(`document.getElementById("news").textContent.includes("42 Failed")`)
}

func TestItSaysWhenTheAgentIsAway(t *testing.T) {
	p := open(t, "")
	eval[any](p, `window.fetch = () => Promise.reject(new Error("away")), document.dispatchEvent(new Event("visibilitychange")), null`)
	p.until(`document.getElementById("news").textContent.includes("does not answer")`)
	if got, want := len(p.rows()), len(p.node.Rows()); got != want {
		t.Errorf("%d rows are left, want all %d", got, want)
	}
}

// The filters work with the keyboard alone, with a script and without.
func TestFilters(t *testing.T) {
	for name, script := range map[string]bool{"with script": true, "without script": false} {
		t.Run(name, func(t *testing.T) {
			p := open(t, "")
			p.run(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !script}))
			p.reload()
			p.run(chromedp.SendKeys(chromedp.CSS(`input[name="namespace"]`), "db"), chromedp.SendKeys(chromedp.CSS(`select[name="state"]`), "Suspect"), chromedp.SendKeys(chromedp.CSS(`input[name="namespace"]`), kb.Enter))
			p.until(`document.querySelector("option[selected]") !== null && ` + ready)
			at := eval[string](p, "location.href")
			if !strings.Contains(at, "namespace=db") || !strings.Contains(at, "state=Suspect") {
				t.Errorf("leads to %s", at)
			}
			if got := p.rows(); !slices.Equal(got, []string{"hung", "once-more", "suspect"}) {
				t.Errorf("shows %v", got)
			}
		})
	}
}

// Whatever a name holds, it is text on the screen and nothing else.
func TestHostileNamesAreText(t *testing.T) {
	p := open(t, "")
	evil := `"'><script>window.owned = 1</script><img src=x onerror="window.owned = 1"><svg onload="window.owned = 1">`
	p.change(func(s *status.Snapshot) {
		s.Node = evil
		s.Pods = []status.Pod{{Namespace: evil, Name: evil, UID: "u", Problem: evil, Mounts: []status.Mount{{
			Container: evil, Volume: evil, MountPoint: evil, FSType: evil, Source: evil, State: "Failed", Finding: evil,
			Transitions: []status.Transition{{State: "Failed", Detail: evil}},
		}}}}
	})
	p.until(`document.getElementById("live").textContent.includes("window.owned")`)
	p.reload()
	if eval[bool](p, `"owned" in window`) {
		t.Error("a name was run")
	}
	if n := eval[int](p, `document.querySelectorAll("img, svg, script").length`); n != 1 {
		t.Errorf("%d elements, want the page's own script", n)
	}
	if got := p.rows(); !slices.Equal(got, []string{evil}) {
		t.Errorf("shows %q", got)
	}
}

// At the width of a telephone nothing lies beyond the edge, and no cell loses its heading.
func TestNarrow(t *testing.T) {
	p := open(t, "")
	long := strings.Repeat("averylongname", 15) // with nothing to break it at
	p.change(func(s *status.Snapshot) { s.Pods[0].Mounts[0].MountPoint = "/" + long; s.Pods[1].Name = long })
	for _, width := range []int64{320, 400} {
		p.scheme("light", width)
		p.reload()
		if got := eval[int64](p, "document.documentElement.scrollWidth"); got > width {
			t.Errorf("the page is %d pixels wide on a screen of %d", got, width)
		}
	}
	if got := eval[float64](p, `document.querySelector("#mounts + table td").getBoundingClientRect().width`); got < 300 {
		t.Errorf("a cell is %.0f pixels wide of 400: it stands beside others", got)
	}
	if got := eval[string](p, `getComputedStyle(document.querySelector('td[data-label="State"]'), "::before").content`); !strings.Contains(got, "State") {
		t.Errorf("a cell is introduced by %q", got)
	}
}

// By Tab alone one gets to everything that can be used, and sees where one is.
func TestKeyboard(t *testing.T) {
	p := open(t, "?namespace=db")
	p.run(chromedp.Click(chromedp.CSS("#pause"))) // the focus is to stay
	eval[any](p, "document.activeElement.blur(), window.getSelection().removeAllRanges(), document.body.tabIndex = -1, document.body.focus(), null")
	want := eval[int](p, `document.querySelectorAll("input, select, button, a, summary").length`)
	seen := map[string]bool{}
	for range want + 2 {
		p.run(chromedp.KeyEvent(kb.Tab))
		at := eval[[]string](p, `(() => { const e = document.activeElement; return [e.tagName + (e.id || e.name || e.textContent), getComputedStyle(e).outlineStyle, e.tagName]; })()`)
		if at[2] == "BODY" || at[2] == "HTML" {
			continue
		}
		seen[at[0]] = true
		if at[1] == "none" {
			t.Errorf("the focus on %s cannot be seen", at[0])
		}
	}
	if len(seen) != want {
		t.Errorf("Tab leads to %d elements of %d: %v", len(seen), want, seen)
	}
}

// violation is one finding of axe-core.
type violation struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Help   string `json:"help"`
	Nodes  []struct {
		HTML string `json:"html"`
	} `json:"nodes"`
}

// Assistive technology stumbles over nothing, in the light, in the dark and on a telephone.
func TestAxe(t *testing.T) {
	path := os.Getenv("AXE")
	if path == "" {
		t.Skip("needs axe-core: run make test-browser")
	}
	axe, err := os.ReadFile(path)
	must(t, err)
	p := open(t, "")
	p.run(chromedp.Click(chromedp.CSS("#pause")))
	for _, colours := range []string{"light", "dark"} {
		for name, width := range map[string]int64{"wide": 1400, "narrow": 400} {
			p.scheme(colours, width)
			eval[any](p, string(axe)+"\nnull")
			found := eval[[]violation](p, `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then((r) => r.violations)`)
			for _, v := range found {
				t.Errorf("%s, %s: %s (%s): %s, such as %s", colours, name, v.ID, v.Impact, v.Help, v.Nodes[0].HTML)
			}
			p.picture(colours + "-" + name)
		}
	}
}
