// Package alerts tests what the chart gives to Prometheus and Grafana with Prometheus' own parser and engine: when each alert fires, and
// that no alert and no panel asks for a series that no agent has.
//
// It reads the alerts as the tests of package chart have rendered them (test/chart/testdata), so that it needs no helm. It is a module of
// its own, so that Prometheus raises no version of what the other tests use.
package alerts
