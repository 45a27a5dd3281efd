// Package docs holds the documentation to its word: every fenced block of every page is claimed by a checker, or the test fails. Manifests
// go to a real API server and their annotations through the agent's own parser; commands are run by the real kubectl and helm, as far as
// that goes without a kubelet, or parsed by the agent's own flags; links, and the names of settings, annotations, metrics, events and
// alerts must exist.
//
// What a page shows as output (```text) is not compared with anything but these names. PromQL is for package alerts, which has its parser.
package docs
