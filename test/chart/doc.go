// Package chart holds the tests of charts/mountwarden: they render it with the pinned helm, as a user would, and look at the
// objects. Whether an API server takes them is for package policy to say, whether the alerts fire for package alerts, and whether the
// rendered agent runs for the end-to-end tests.
//
// The golden files and the values in the chart's README are written by:
//
//go:generate go test . -run "^(TestScenarios|TestReadme)$" -update
package chart
