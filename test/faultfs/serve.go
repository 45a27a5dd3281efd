package faultfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// readyLine is what a server prints once its mount answers.
const readyLine = "ready"

// ServeCommand is the body of a server process: it reads the flags of Options from
// args, mounts, prints "ready" and a line feed on stdout, and serves until ctx ends,
// SIGTERM or SIGINT comes or the connection ends. It leaves no mount behind, unless
// it is killed or the connection is aborted. What follows the argument "--" is the command line of
// another FUSE server, which this process becomes.
func ServeCommand(ctx context.Context, args []string, stdout io.Writer) error {
	args, program := cutProgram(args)
	opts, err := parseOptions(args)
	if err != nil {
		return err
	}
	if len(program) > 0 {
		return becomeProgram(opts.Control, program)
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	return serve(ctx, opts, func() error {
		_, err := fmt.Fprintln(stdout, readyLine)
		return err
	})
}

func serve(ctx context.Context, opts Options, ready func() error) (err error) {
	faults := &Faults{}
	ended, err := mountGate(opts, faults)
	if err != nil {
		return fmt.Errorf("mount FUSE on %q (needs root and /dev/fuse): %w", opts.Mountpoint, err)
	}
	stopWatching := watchBackend(ctx, opts, faults)
	defer func() {
		stopWatching()
		faults.Clear()
		if !isClosed(ended) { // else the mount is gone, or dead because of an abort, and stays so
			err = errors.Join(err, Detach(opts.Mountpoint), awaitEnd(ended))
		}
	}()

	connection, err := ConnectionAt(opts.Mountpoint)
	if err != nil {
		return err
	}
	info := Info{PID: os.Getpid(), Mountpoint: opts.Mountpoint, Connection: connection}
	control, err := listen(opts.Control, info, faults)
	if err != nil {
		return err
	}
	defer control.close()
	if err := ready(); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	return nil
}

// mountGate mounts with mount(2), without the fusermount helper, and serves until
// the connection ends, which closes the channel.
func mountGate(opts Options, faults *Faults) (ended <-chan struct{}, err error) {
	root, onAdd := newRoot(opts.canary(), opts.Content)
	cacheFor := opts.CacheFor
	tree := fs.NewNodeFS(root, &fs.Options{EntryTimeout: &cacheFor, AttrTimeout: &cacheFor, OnAdd: onAdd})
	server, err := fuse.NewServer(&gate{tree, faults, cacheFor == 0}, opts.Mountpoint, &fuse.MountOptions{
		AllowOther:        !opts.OwnerOnly,
		FsName:            opts.source(),
		Name:              "faultfs",
		DirectMountStrict: true,
		DirectMountFlags:  mountFlags(opts),
		Options:           []string{fmt.Sprintf("user_id=%d", opts.Owner), fmt.Sprintf("group_id=%d", opts.Owner)},
	})
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve() }()
	if err := server.WaitMount(); err != nil && !refused(opts, err) {
		return nil, errors.Join(err, Detach(opts.Mountpoint), awaitEnd(done))
	}
	return done, nil
}

// refused tells whether the mount is in place and does not let this process in, which WaitMount tries.
func refused(opts Options, err error) bool {
	return opts.OwnerOnly && opts.Owner != 0 && errors.Is(err, unix.EACCES)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func mountFlags(opts Options) uintptr {
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if opts.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	return flags
}

// awaitEnd waits for the connection's end. It takes long only when someone else
// detached the mount and still uses it; the exit of the process then ends it.
func awaitEnd(ended <-chan struct{}) error {
	timer := time.NewTimer(callTimeout)
	defer timer.Stop()
	select {
	case <-ended:
		return nil
	case <-timer.C:
		return errors.New("the mount was detached by someone else and is still in use")
	}
}

// Detach takes the FUSE mount on top at mountpoint away, whoever uses it, and aborts the
// connection so that no one goes on waiting for it. A mount that is gone is fine.
func Detach(mountpoint string) error {
	connection, err := ConnectionAt(mountpoint)
	if errors.Is(err, ErrNotMounted) {
		return nil
	}
	if err != nil {
		return err
	}
	return detachConnection(mountpoint, connection)
}

// detachConnection aborts first: while the mount is in place the number is surely its
// own, afterwards it may be a stranger's. Neither step enters the file system.
func detachConnection(mountpoint string, connection int) error {
	err := abort(connection)
	if errors.Is(err, unix.ENOENT) {
		err = nil // it ended by itself
	}
	if e := unix.Unmount(mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); e != nil {
		err = errors.Join(err, fmt.Errorf("unmount %q: %w", mountpoint, e))
	}
	return err
}
