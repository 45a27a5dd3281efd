// Package policy tests the chart on a real API server: its admission policies, with tokens that are really bound to pods, and whether the
// API server takes what it renders.
package policy
