// Command mountwarden finds broken mounts under running pods and has the pods replaced.
//
// Here is the wiring only: flags to configuration, configuration to parts, parts to a manager. One file a sub-command.
package main
