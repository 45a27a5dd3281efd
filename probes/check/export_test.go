package check

import "unsafe"

// BytesOf is the memory of a page as a worker could overwrite it.
func BytesOf(p *ProgressPage) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), ProgressPageSize)
}
