package ledger

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Clock tells the time as the API server has it, by the Date of its answers (RFC 9110, 6.6.1: whole seconds). Agents on nodes whose
// clocks differ then agree on what lies within a window. Before the first answer it is the node's own.
type Clock struct {
	local  func() time.Time
	offset atomic.Int64 // nanoseconds from the local clock to the API server's
}

// NewClock returns a Clock that goes on from one answer to the next by the local one.
func NewClock(local func() time.Time) *Clock { return &Clock{local: local} }

// Now returns the API server's time, to about two seconds.
func (c *Clock) Now() time.Time { return c.At(c.local()) }

// At returns the API server's time at a time of the local clock.
func (c *Clock) At(local time.Time) time.Time { return local.Add(time.Duration(c.offset.Load())) }

// Wrap returns a transport that reads the clock from every answer that passes.
func (c *Clock) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil {
			c.read(answer.Header.Get("Date"))
		}
		return answer, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// within is how far the clocks may be apart before it counts: a Date is cut to the second, and an answer takes its time.
const within = 1500 * time.Millisecond

func (c *Clock) read(date string) {
	server, err := http.ParseTime(date)
	if err != nil {
		return // no HTTP date: not the API server's answer, or a proxy's
	}
	offset := server.Add(time.Second / 2).Sub(c.local())
	if offset.Abs() <= within {
		offset = 0
	}
	if (offset - time.Duration(c.offset.Load())).Abs() > within {
		c.offset.Store(int64(offset))
	}
}
