// Package workertest makes a test binary its own worker: a fake one that speaks the real protocol.
//
// A test's TestMain calls Pretend first. The last element of the path of a request selects what the
// fake pretends: "hang" never answers, "crash" ends, and so on. No file system is touched, so tests
// of what the agent makes of answers need no root and no mounts. Do not use it to test package
// check itself.
package workertest
