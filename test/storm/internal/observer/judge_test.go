package observer

import (
	"testing"
	"time"
)

// A window is any stretch of time that is shorter than its length, wherever it begins.
func TestFullestWindow(t *testing.T) {
	at := func(ms ...int) (times []time.Time) {
		for _, m := range ms {
			times = append(times, time.UnixMilli(int64(m)))
		}
		return times
	}
	for name, tc := range map[string]struct {
		times []time.Time
		i     int
		want  int
	}{
		"alone":                        {at(5), 0, 1},
		"just within":                  {at(0, 999), 1, 2},
		"just outside":                 {at(0, 1000), 1, 1},
		"across what a grid would cut": {at(600, 900, 1100, 1599), 1, 4},
		"came late, in the middle":     {at(0, 400, 800, 1200), 1, 3},
		"the fullest is behind it":     {at(0, 900, 1000, 1100), 1, 3},
		"not counted with it":          {at(0, 2000, 2001, 2002), 0, 1},
		"together":                     {at(7, 7, 7), 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fullest(tc.times, tc.i, time.Second); got != tc.want {
				t.Errorf("%d, want %d", got, tc.want)
			}
		})
	}
}

func TestPeak(t *testing.T) {
	r := func(from, to int) *removal {
		made := &removal{call: call{At: time.Unix(int64(from), 0)}}
		if to > 0 {
			made.up = time.Unix(int64(to), 0)
		}
		return made
	}
	for _, tc := range []struct {
		all  []*removal
		want int
	}{
		{nil, 0},
		{[]*removal{r(1, 2)}, 1},
		{[]*removal{r(1, 3), r(2, 4)}, 2},
		{[]*removal{r(1, 2), r(3, 4)}, 1},
		{[]*removal{r(1, 0), r(3, 4), r(5, 0)}, 2},
	} {
		if got := peak(tc.all); got != tc.want {
			t.Errorf("%v: %d, want %d", tc.all, got, tc.want)
		}
	}
}

func TestInVain(t *testing.T) {
	at := time.Unix(100, 0)
	for name, tc := range map[string]struct {
		r    removal
		want bool
	}{
		"no successor":       {removal{}, true},
		"in time":            {removal{up: at.Add(vainWithin)}, false},
		"too late":           {removal{up: at.Add(vainWithin + 1)}, true},
		"broken soon after":  {removal{up: at.Add(time.Second), broken: true}, true},
		"by another's clock": {removal{up: at.Add(-time.Second)}, false},
	} {
		tc.r.At = at
		if got := tc.r.inVain(); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRequestsOfARemoval(t *testing.T) {
	requests := map[string]int{"get pods": 4, "create events": 90, "patch events": 9, "update leases": 6, removedAgain: 1}
	if got := perRemoval(requests, 4); got != 2.5 {
		t.Errorf("%v", got)
	}
	if got := perRemoval(nil, 0); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
