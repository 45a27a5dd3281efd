package tool

import (
	"strings"
	"testing"
)

func TestTheVariableWins(t *testing.T) {
	t.Setenv("GOLANGCI_LINT", "/somewhere/golangci-lint")
	if path, err := Path(t.Context(), "golangci-lint"); err != nil || path != "/somewhere/golangci-lint" {
		t.Errorf("%q, %v", path, err)
	}
}

func TestUnknownProgramsAreNamed(t *testing.T) {
	path, err := Path(t.Context(), "no-such-program")
	if err == nil || path != "" || !strings.Contains(err.Error(), "no-such-program") || !strings.Contains(err.Error(), "NO_SUCH_PROGRAM") {
		t.Errorf("%q, %v", path, err)
	}
}
