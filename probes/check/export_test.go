package check

import "unsafe"

// BytesOf is the memory of a board as a worker could scribble on it.
func BytesOf(b *Board) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(b)), BoardSize) }
