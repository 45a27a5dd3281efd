package faultfs

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// CtlUsage are the words that Ctl understands.
const CtlUsage = `hang [OP]            requests are read and never answered
error ERRNO [OP]     requests fail, with an error name such as EIO, ESTALE or EACCES
slow DURATION [OP]   requests take that much longer, such as 2s
clear                ends hang, error and slow, also for requests that wait
stop                 the server stops reading requests (SIGSTOP)
cont                 ends stop
kill                 the server dies at once; the mount stays, dead
abort                the FUSE connection ends; the server ends and leaves the mount, dead
status               prints the server's process id, mount, faults and held requests`

// Ctl does one command of CtlUsage, in words, on the server of the client. OP is one
// of Ops, all by default. Only status prints something: a Status as one JSON line.
func (c *Client) Ctl(words []string, stdout io.Writer) error {
	if len(words) == 0 {
		return fmt.Errorf("no fault given: %w: use one of\n%s", ErrUsage, CtlUsage)
	}
	simple := map[string]func() error{
		"clear": c.Clear, "stop": c.Stop, "cont": c.Continue, "kill": c.Kill, "abort": c.Abort,
		"status": func() error { return c.printStatus(stdout) },
	}
	if do, ok := simple[words[0]]; ok {
		if len(words) > 1 {
			return fmt.Errorf("argument %q of %q %w: it takes none", words[1], words[0], ErrUsage)
		}
		return do()
	}
	op, fault, err := parseFaultWords(words)
	if err != nil {
		return err
	}
	return c.Set(op, fault)
}

// parseFaultWords reads a fault with an optional operation behind it.
func parseFaultWords(words []string) (Op, Fault, error) {
	length, ok := map[string]int{"hang": 1, "error": 2, "slow": 2}[words[0]]
	if !ok || len(words) < length || len(words) > length+1 {
		return "", Fault{}, fmt.Errorf("fault %q %w: use one of\n%s", strings.Join(words, " "), ErrUsage, CtlUsage)
	}
	fault, err := ParseFault(strings.Join(words[:length], " "))
	if err != nil || len(words) == length {
		return All, fault, err
	}
	op, err := ParseOp(words[length])
	return op, fault, err
}

func (c *Client) printStatus(stdout io.Writer) error {
	status, err := c.Status()
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(status)
}
