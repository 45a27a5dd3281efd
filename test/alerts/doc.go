// Package alerts tests what the chart gives to Prometheus and Grafana with Prometheus' own parser and engine: when each alert fires, and
// that no alert and no panel asks for a series that no agent has.
//
// It reads the alerts as the tests of package chart have rendered them (test/chart/testdata), so that it needs no helm. It is a module of
// its own, since Prometheus brings along the clients of every cloud.
package alerts
