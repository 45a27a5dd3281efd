// Package policy tests the chart's admission policies on a real API server, with tokens that are really bound to pods.
package policy
