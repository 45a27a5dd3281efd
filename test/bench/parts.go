package main

import (
	"context"
	"slices"
)

// part is one thing that is measured.
type part struct {
	name string
	run  func(context.Context, *world, *report) error
}

func parts() []part {
	return []part{{"look", measureLook}, {"rest", measureRest}, {"latency", measureLatency}, {"hung", measureHung}}
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

func (p part) wanted(only []string) bool { return len(only) == 0 || slices.Contains(only, p.name) }
