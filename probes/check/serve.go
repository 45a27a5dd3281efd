package check

import (
	"syscall"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// Socket is the descriptor of a worker's end of the socket.
const Socket = 3

// Serve drops privileges and answers requests on a SOCK_SEQPACKET socket until the other end is
// closed, which is how a worker learns that the agent is gone. The error is one of the protocol.
func Serve(socket int) error {
	w := worker{socket: socket}
	if err := w.say(Message{Kind: KindHello, Undone: dropPrivileges()}); err != nil {
		return err
	}
	buf := make([]byte, requestHeader+MaxPath)
	for {
		n, target, err := sys.Receive(socket, buf)
		if err != nil || n == 0 {
			return err
		}
		if err := w.serve(buf[:n], target); err != nil {
			return err
		}
	}
}

type worker struct{ socket int }

func (w worker) say(m Message) error { return sys.Send(w.socket, m.Encode()) }

func (w worker) serve(msg []byte, target int) error {
	request, err := DecodeRequest(msg)
	if err != nil || target < 0 {
		return errProtocol
	}
	l := look{worker: w, answer: Answer{}}
	l.run(target, request)
	return w.say(Message{Kind: KindAnswer, Answer: l.answer})
}

// look is one request on its way through the stages.
type look struct {
	worker worker
	answer Answer
}

// run takes over target and has closed every descriptor when it returns.
func (l *look) run(target int, r Request) {
	path, ok := l.open(target, r.Path)
	if !ok {
		return
	}
	defer sys.Close(path)
	if l.identify(path, r.MountID) {
		l.touch(path)
	}
}

// open closes everything but the path itself before any call that may block for long: a descriptor of
// the root would pin the container's root file system.
func (l *look) open(target int, path string) (fd int, ok bool) {
	l.begin(StageRoot)
	root, err := sys.OpenDirAt(target, "root")
	sys.Close(target)
	if err != nil {
		return -1, l.end(err)
	}
	l.begin(StageOpen)
	fd, err = sys.OpenInRoot(root, path)
	sys.Close(root)
	return fd, l.end(err)
}

// identify reports whether the look is to go on.
func (l *look) identify(fd int, expected uint64) bool {
	l.answer.Stage = StageIdentify
	id, err := sys.Identify(fd)
	if !l.end(err) {
		return false
	}
	l.answer.MountID, l.answer.MountRoot = id.MountID, id.MountRoot
	l.answer.Mismatch = expected != 0 && id.MountID != expected
	return expected != 0 && !l.answer.Mismatch
}

func (l *look) touch(fd int) {
	l.begin(StageStatfs)
	info, err := sys.Statfs(fd)
	if !l.end(err) {
		return
	}
	l.answer.Unasked = info.Magic == sys.MagicFUSE && info.Empty
	l.begin(StageStatx)
	links, err := sys.StatSync(fd)
	if l.end(err) {
		l.answer.Unlinked = info.Magic == sys.MagicNFS && links == 0
	}
}

// begin tells the agent what is about to be done, so that a hang names its operation. That nobody
// listens any more is noticed when the answer is sent.
func (l *look) begin(s Stage) {
	l.answer.Stage = s
	_ = l.worker.say(Message{Kind: KindProgress, Answer: Answer{Stage: s}})
}

// end notes how a stage ended and reports whether it was good.
func (l *look) end(err error) bool {
	if err == nil {
		return true
	}
	errno, ok := err.(syscall.Errno) //nolint:errorlint // straight from the system call; errors.As would pull in reflection
	if !ok {
		errno = syscall.EINVAL
	}
	l.answer.Errno = errno
	return false
}
