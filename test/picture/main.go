package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: picture FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(draw(theScene())), 0o644); err != nil { //nolint:gosec // a picture for everybody
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}
