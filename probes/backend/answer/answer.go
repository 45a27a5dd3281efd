package answer

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
	"github.com/mountwarden/mountwarden/probes/backend/csi"
	"github.com/mountwarden/mountwarden/probes/backend/nfs"
	"github.com/mountwarden/mountwarden/probes/check"
)

// answerTimeout is for the whole program: two timeouts of a driver or server, and some time for the
// rest.
const answerTimeout = 2*ask.Timeout + ask.Timeout/4

// Serve reads one question from in and writes the answer to out. It returns within five seconds; a
// system call that does not return by then is left behind until the process ends. The error is one
// of the protocol. With drop it first drops the privileges that no probe needs, as far as it can.
func Serve(ctx context.Context, in io.Reader, out io.Writer, drop bool) error {
	if drop {
		check.DropPrivileges()
	}
	q, err := ask.ReadQuestion(in)
	if err != nil {
		return err
	}
	text, err := callWithin(ctx, answerTimeout, func(ctx context.Context) ask.Answer { return answerQuestion(ctx, q) }).Encode()
	if err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

func answerQuestion(ctx context.Context, q ask.Question) ask.Answer {
	switch {
	case q.Volume != nil:
		driver, err := csi.ReadDriver(*q.Volume)
		if err != nil {
			return newUnclearAnswer(err.Error())
		}
		return ask.Answer{Driver: driver}
	case q.CSI != nil:
		return ask.Answer{MountReadiness: csi.CheckDriver(ctx, *q.CSI)}
	default:
		return ask.Answer{MountReadiness: nfs.CheckServer(ctx, *q.NFS)}
	}
}

func newUnclearAnswer(detail string) ask.Answer {
	return ask.Answer{MountReadiness: probes.MountReadiness{Detail: detail}}
}

// callWithin returns what f answers, or Unclear after the limit: f may be in a system call that no
// context ends.
func callWithin(ctx context.Context, limit time.Duration, f func(context.Context) ask.Answer) ask.Answer {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answers := make(chan ask.Answer, 1)
	go func() { answers <- f(ctx) }()
	select {
	case a := <-answers:
		return a
	case <-ctx.Done():
		return newUnclearAnswer(fmt.Sprintf("nothing is known after %s: a file of the host does not open", limit))
	}
}
