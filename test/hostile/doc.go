// Command hostile attacks the agent of its node with what a pod without any privilege can do, one
// attack a file. The end-to-end tests run it in pods.
//
// Each attack goes on until SIGTERM, and says "under way" on its standard output once it has done
// all of it at least once. It harms nobody but the agent, and needs no right that a pod does not
// have anyway. Do not run it outside of the test cluster.
package main
