// Package probes holds the nouns of looking at a mount: what is to be looked at (Pod, Container,
// Target), what was seen (Observation) and why it is bad (Cause). It does no I/O.
//
// A look has three results, never two: healthy, broken with a Cause, or unknown. "Could not look" is
// unknown, and unknown never leads to a deletion; that is why Unknown and CauseNone are the zero values.
package probes
