package ledger

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Clock tells the time as the API server has it, by the Date of its responses (RFC 9110, 6.6.1:
// whole seconds). Agents on nodes whose clocks differ then agree on what lies within a window.
// Before the first response it is the node's own clock.
type Clock struct {
	local  func() time.Time
	offset atomic.Int64 // nanoseconds from the local clock to the API server's
}

// NewClock returns a Clock that uses the local clock between two responses.
func NewClock(local func() time.Time) *Clock { return &Clock{local: local} }

// Now returns the API server's time, to about two seconds.
func (c *Clock) Now() time.Time { return c.At(c.local()) }

// At turns a time of the local clock into the API server's.
func (c *Clock) At(local time.Time) time.Time { return local.Add(time.Duration(c.offset.Load())) }

// Wrap returns a transport that reads the time from every response that passes through it.
func (c *Clock) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil {
			c.adjustOffset(answer.Header.Get("Date"))
		}
		return answer, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// offsetTolerance is the difference that is ignored: a Date is cut to the second, and a response
// takes some time.
const offsetTolerance = 1500 * time.Millisecond

func (c *Clock) adjustOffset(date string) {
	server, err := http.ParseTime(date)
	if err != nil {
		return // no HTTP date: not the API server's answer, or a proxy's
	}
	offset := server.Add(time.Second / 2).Sub(c.local())
	if offset.Abs() <= offsetTolerance {
		offset = 0
	}
	if (offset - time.Duration(c.offset.Load())).Abs() > offsetTolerance {
		c.offset.Store(int64(offset))
	}
}
