// Command picture draws docs/architecture.svg, the way of the data through the agent, from the list in scene.go.
//
// The picture has a light and a dark set of colours, and the reader's own setting chooses. Do not draw it by hand: the test beside this
// program fails when the file is another than what is drawn.
//
//go:generate go run . ../../docs/architecture.svg
package main
