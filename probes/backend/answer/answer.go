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

// patience is for the whole program: two waits, and something for the rest.
const patience = 2*ask.Patience + ask.Patience/4

// Serve answers the one question of in on out. It returns within five seconds; a call that the kernel does not return from by
// then is left behind for the end of the process. The error is one of the protocol. With drop it first drops the privileges that no
// worker needs, as far as it can.
func Serve(ctx context.Context, in io.Reader, out io.Writer, drop bool) error {
	if drop {
		check.DropPrivileges()
	}
	q, err := ask.ReadQuestion(in)
	if err != nil {
		return err
	}
	text, err := within(ctx, patience, func(ctx context.Context) ask.Answer { return answer(ctx, q) }).Encode()
	if err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

func answer(ctx context.Context, q ask.Question) ask.Answer {
	switch {
	case q.Volume != nil:
		driver, err := csi.DriverOf(*q.Volume)
		if err != nil {
			return unclear(err.Error())
		}
		return ask.Answer{Driver: driver}
	case q.CSI != nil:
		return ask.Answer{Freshness: csi.Fresh(ctx, *q.CSI)}
	default:
		return ask.Answer{Freshness: nfs.Fresh(ctx, *q.NFS)}
	}
}

func unclear(detail string) ask.Answer {
	return ask.Answer{Freshness: probes.Freshness{Detail: detail}}
}

// within returns what f answers, or that it does not: f may be in a system call that no context ends.
func within(ctx context.Context, limit time.Duration, f func(context.Context) ask.Answer) ask.Answer {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answers := make(chan ask.Answer, 1)
	go func() { answers <- f(ctx) }()
	select {
	case a := <-answers:
		return a
	case <-ctx.Done():
		return unclear(fmt.Sprintf("nothing is known after %s: a file of the host does not open", limit))
	}
}
