package main

// missing are the tests that a kernel cannot run, as "SUITE TestName", for it lacks what they need.
func missing(series string) []string {
	_ = series
	return nil
}
