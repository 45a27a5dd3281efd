// Command mountwarden finds broken mounts under running pods and has the pods replaced.
//
// This package only connects the parts: flags to configuration, configuration to components,
// components to a manager. Each sub-command has a file.
package main
