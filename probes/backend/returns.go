package backend

import (
	"sync"
	"time"
)

const (
	// returnWithin is how long the kernel's client of NFS may take to come back to a server that answers again. Measured with Linux 5.10 to 7.3
	// after half a minute away: 5 s, and 30 s with NFS 3 and a server whose packets were lost, as TCP asks ever less often.
	returnWithin = time.Minute
	// lostAfter is how old a server's last answer may be for it to have answered ever since: the gate asks every 15 s at the least.
	lostAfter = 30 * time.Second
	// maxServers is of how many servers it is remembered since when they answer.
	maxServers = 1024
)

// returns are the servers that answer while mounts of theirs do not. It is safe for concurrent use.
type returns struct {
	mu     sync.Mutex
	answer map[string]answering // by server
}

// answering is since when a server has answered whenever it was asked, and when that was last.
type answering struct{ since, last time.Time }

func newReturns() *returns { return &returns{answer: map[string]answering{}} }

// left is how much of the time that mounts have to come back by themselves is left, now that the server has answered or not.
func (r *returns) left(server string, answers bool, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !answers {
		delete(r.answer, server)
		return returnWithin
	}
	a, known := r.answer[server]
	if !known || now.Sub(a.last) > lostAfter {
		a.since = now
	}
	if len(r.answer) >= maxServers { // the others have their time anew, which does no harm
		clear(r.answer)
	}
	a.last = now
	r.answer[server] = a
	return max(0, returnWithin-now.Sub(a.since))
}
