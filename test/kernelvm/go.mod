module github.com/mountwarden/mountwarden/test/kernelvm

go 1.26.0

require github.com/ulikunitz/xz v0.5.17

require (
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.49.0
)
