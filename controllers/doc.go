// Package controllers holds the types that the controllers share: a remediation's Request and
// Result, the Status of a watched mount, what the status page shows of a pod (Watched, Removal),
// and the names that are an API: event reasons, hold reasons and log keys, each in one file.
//
// Package podmount requests a remediation and package remediate carries it out. Neither imports the
// other; both import this package. Do not put logic here.
package controllers
