package ledger

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	for name, tc := range map[string]struct {
		date string
		want time.Duration // from the local clock
	}{
		"no date":            {"", 0},
		"no HTTP date":       {"2026-01-02T03:04:05Z", 0},
		"the same":           {now.Format(http.TimeFormat), 0},
		"cut to the second":  {now.Add(-time.Second).Format(http.TimeFormat), 0},
		"a second ahead":     {now.Add(time.Second).Format(http.TimeFormat), 0},
		"ten minutes ahead":  {now.Add(10 * time.Minute).Format(http.TimeFormat), 10*time.Minute + time.Second/2},
		"ten minutes behind": {now.Add(-10 * time.Minute).Format(http.TimeFormat), -10*time.Minute + time.Second/2},
		"a year behind":      {now.AddDate(-1, 0, 0).Format(http.TimeFormat), -365*24*time.Hour + time.Second/2},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewClock(fixedClock)
			transport := c.Wrap(roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{Header: http.Header{"Date": {tc.date}}, Body: http.NoBody}, nil
			}))
			answer, err := transport.RoundTrip(&http.Request{})
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if got := c.Now().Sub(now); got != tc.want {
				t.Errorf("off by %s, want %s", got, tc.want)
			}
		})
	}
}

// It does not jump to and fro with each answer's fraction of a second, and goes back when the
// node's clock is set.
func TestClockIsSteady(t *testing.T) {
	local := now
	c := NewClock(func() time.Time { return local })
	c.adjustOffset(now.Add(time.Hour).Format(http.TimeFormat))
	first := c.Now()
	c.adjustOffset(now.Add(time.Hour + time.Second).Format(http.TimeFormat))
	if got := c.Now(); got != first {
		t.Errorf("jumped by %s", got.Sub(first))
	}
	local = now.Add(time.Hour)
	c.adjustOffset(now.Add(time.Hour).Format(http.TimeFormat))
	if got := c.Now(); got != local {
		t.Errorf("off by %s after the node's clock was set", got.Sub(local))
	}
}

func TestClockPassesErrorsOn(t *testing.T) {
	failure := errors.New("no answer")
	c := NewClock(fixedClock)
	transport := c.Wrap(roundTripper(func(*http.Request) (*http.Response, error) { return nil, failure }))
	answer, err := transport.RoundTrip(&http.Request{})
	if answer != nil {
		_ = answer.Body.Close()
	}
	if !errors.Is(err, failure) || !c.Now().Equal(now) {
		t.Errorf("%v, %s", err, c.Now())
	}
}
