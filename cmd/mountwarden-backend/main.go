// Command mountwarden-backend asks, in the agent's place, whether a fresh mount of a volume would
// succeed: one question as JSON on its standard input, one answer on its standard output. It is of no
// use by hand. See package answer.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/mountwarden/mountwarden/probes/backend/answer"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

func main() {
	if err := answer.Serve(context.Background(), os.Stdin, os.Stdout, true); err != nil {
		fmt.Fprintln(os.Stderr, ask.Program+":", err)
		os.Exit(1)
	}
}
