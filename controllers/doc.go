// Package controllers holds the nouns that the controllers share: a remediation's Request and Result, the Status of
// a watched mount, and the names that are an API: event reasons and log keys, each in one file.
//
// podmount asks for a remediation and remediate carries it out; neither imports the other, both import this.
// Do not put behaviour here.
package controllers
