// Package chart holds the tests of charts/mountwarden: they render it with the pinned helm, as a user would, and look at the
// objects. Whether the rendered agent runs is for the end-to-end tests to say.
package chart
