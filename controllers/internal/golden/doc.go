// Package golden compares what a test has made with a file that a person has reviewed.
//
// Do not use it for what a table of cases says better: a difference in a golden file is easily
// overlooked.
package golden
