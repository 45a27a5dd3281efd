package text_test

import (
	"testing"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
)

func TestCut(t *testing.T) {
	for _, tc := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 4, ""},
		{"four", 4, "four"},
		{"fives", 4, "f..."},
		{"löwen", 5, "l..."}, // ö has two bytes, of which one would be left
		{"löwe", 5, "löwe"},
	} {
		if got := text.Cut(tc.in, tc.limit); got != tc.want || len(got) > tc.limit {
			t.Errorf("%q to %d bytes: %q, want %q", tc.in, tc.limit, got, tc.want)
		}
	}
}
