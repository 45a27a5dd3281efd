package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// sets is how many epoll sets one process blocks, each with a thread of its own.
	sets = 16
	// blockEvery is from one try to the next, as long as the files answer.
	blockEvery = 100 * time.Millisecond
)

// blockSets has the kernel write the events of epoll sets to memory of files, again and again. Once
// the FUSE of the files does not answer any more, each set stays locked: the kernel holds its mutex
// while it writes (ep_send_events of fs/eventpoll.c), and whoever reads the fdinfo of the set's
// descriptor waits for it, unkillably (ep_show_fdinfo).
func blockSets(ctx context.Context, path string, out io.Writer) error {
	errs := make(chan error, sets)
	var waiting sync.WaitGroup
	for i := range sets {
		waiting.Add(1)
		done := sync.OnceFunc(waiting.Done)
		go func() { errs <- blockSet(ctx, fmt.Sprintf("%s-%d", path, i), done) }()
	}
	go func() {
		waiting.Wait()
		fmt.Fprintln(out, UnderWay)
	}()
	select {
	case err := <-errs:
		return err
	case <-ctx.Done(): // the others may not end before their files answer
		return nil
	}
}

// blockSet makes a file of its own: the kernel locks the pages of one that others map. It calls
// written after each event.
func blockSet(ctx context.Context, path string, written func()) error {
	if err := os.WriteFile(path, make([]byte, os.Getpagesize()), 0o600); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	set, err := newReadySet()
	if err != nil {
		return err
	}
	tick := time.NewTicker(blockEvery)
	defer tick.Stop()
	for awaitTick(ctx, tick) {
		if err := writeEvent(set, file); err != nil {
			return fmt.Errorf("write an event to memory of %s: %w", path, err)
		}
		written()
	}
	return nil
}

// newReadySet returns an epoll set that always has an event.
func newReadySet() (set int, err error) {
	event, err := unix.Eventfd(1, unix.EFD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("make an eventfd: %w", err)
	}
	set, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("make an epoll set: %w", err)
	}
	return set, unix.EpollCtl(set, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(event)})
}

// writeEvent has the kernel write the set's event to the first page of the file, copied on write.
// It maps the file each time: then the kernel drops the pages that it has (fuse_direct_mmap of
// fs/fuse/file.c) and asks the FUSE for them.
func writeEvent(set int, file *os.File) error {
	page, err := unix.Mmap(int(file.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	events := unsafe.Slice((*unix.EpollEvent)(unsafe.Pointer(&page[0])), 1)
	_, err = unix.EpollWait(set, events, 0)
	if errors.Is(err, unix.EINTR) {
		err = nil
	}
	return errors.Join(err, unix.Munmap(page))
}
