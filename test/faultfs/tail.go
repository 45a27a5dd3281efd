package faultfs

import "sync"

// tailSize is how many bytes of a server's last words an error carries.
const tailSize = 2048

// A tailBuffer keeps the last tailSize bytes written to it.
type tailBuffer struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - tailSize; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
