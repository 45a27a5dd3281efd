// Package metrics is the only importer of Prometheus.
//
// What is known of each watched mount is collected from live state at each scrape, so that its
// series vanish with its pod; what has happened is counted as it happens. Labels come from bounded
// sets, or from the API server's own names; the text of an error is never a label. docs/metrics.md
// lists every metric and is generated from here.
//
// Package metrics is the only importer of Prometheus.
//
// The metrics of each watched mount are collected from live state at each scrape, so that its
// series vanish with its pod. Events are counted as they happen. Labels come from bounded sets, or
// from the API server's own names. The text of an error is never a label. docs/metrics.md lists
// every metric and is generated from here.
//
//go:generate go test -run ^TestDocumentation$ . -update
//go:generate go test -run ^TestDocumentation$ . -update
package metrics
