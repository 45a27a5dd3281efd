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

// Rights encodes descriptors for WriteMsgUnix; the receiver gets descriptors of its own.
func Rights(fds ...int) []byte { return unix.UnixRights(fds...) }

// errTruncated means that a message or its descriptors did not fit.
var errTruncated = errors.New("message truncated: the peer speaks another protocol")

// Receive waits for one message on a blocking socket. It returns its length and the descriptors
// that came with it, up to most: close them. A length of 0 means that the peer is gone.
func Receive(sock int, buf []byte, most int) (n int, fds []int, err error) {
	var flags, oobn int
	oob := make([]byte, unix.CmsgSpace(4*most))
	err = retryEINTR(func() error {
		n, oobn, flags, _, err = unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	fds = parseRights(oob[:oobn])
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(fds) > most {
		CloseAll(fds)
		return 0, nil, errTruncated
	}
	return n, fds, nil
}

// parseRights returns the descriptors of a control message.
func parseRights(oob []byte) []int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) == 0 {
		return nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil
	}
	return fds
}

// Send sends one message on a blocking socket, without SIGPIPE.
func Send(sock int, msg []byte) error {
	return retryEINTR(func() error { return unix.Sendto(sock, msg, unix.MSG_NOSIGNAL, nil) })
}
