package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Socketpair returns two connected SOCK_SEQPACKET sockets, both close-on-exec: the first
// non-blocking, for the Go poller, the second blocking, for the child.
func Socketpair() (parent, child int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		Close(fds[0])
		Close(fds[1])
		return -1, -1, err
	}
	return fds[0], fds[1], nil
}

// Rights encodes fd for WriteMsgUnix; the receiver gets a descriptor of its own.
func Rights(fd int) []byte { return unix.UnixRights(fd) }

// errTruncated tells that a message or its descriptor did not fit.
var errTruncated = errors.New("message truncated: the peer speaks another protocol")

// Receive waits for one message on a blocking socket. It returns its length and the descriptor that came
// with it, or -1. A length of 0 means that the peer is gone.
func Receive(sock int, buf []byte) (n, fd int, err error) {
	var flags, oobn int
	oob := make([]byte, unix.CmsgSpace(4))
	err = retry(func() error {
		n, oobn, flags, _, err = unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return 0, -1, err
	}
	fd = firstRight(oob[:oobn])
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		if fd >= 0 {
			Close(fd)
		}
		return 0, -1, errTruncated
	}
	return n, fd, nil
}

func firstRight(oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) == 0 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1
	}
	return fds[0]
}

// Send sends one message on a blocking socket, without SIGPIPE.
func Send(sock int, msg []byte) error {
	return retry(func() error { return unix.Sendto(sock, msg, unix.MSG_NOSIGNAL, nil) })
}
