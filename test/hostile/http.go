package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	// connections is how many of them are held open to each address.
	connections = 150
	// redialEvery is for how long a connection lasts at least: one that the server closes is
	// replaced.
	redialEvery = time.Second
	// headerBytes and headerLines make a little less than net/http.DefaultMaxHeaderBytes.
	headerBytes = 60_000
	headerLines = 17
)

// holdConnections holds connections to each address, on each of which the header of a request goes
// on until the server closes it.
func holdConnections(ctx context.Context, addresses []string, out io.Writer) error {
	var all, waiting sync.WaitGroup
	for _, address := range addresses {
		for range connections {
			waiting.Add(1)
			done := sync.OnceFunc(waiting.Done)
			all.Go(func() { holdConnection(ctx, address, done) })
		}
	}
	go func() {
		waiting.Wait()
		fmt.Fprintln(out, UnderWay)
	}()
	all.Wait()
	return nil
}

// holdConnection replaces the connection when the server closes it. It calls sent when the server
// has taken all of the header, or no more.
func holdConnection(ctx context.Context, address string, sent func()) {
	tick := time.NewTicker(redialEvery)
	defer tick.Stop()
	for {
		sendHeader(ctx, address, sent)
		sent()
		if !awaitTick(ctx, tick) {
			return
		}
	}
}

// sendHeader returns when the server has closed the connection, or takes none.
func sendHeader(ctx context.Context, address string, sent func()) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: %s\r\n", address)
	for i := range headerLines {
		if _, err := fmt.Fprintf(conn, "X-%d: %s\r\n", i, strings.Repeat("a", headerBytes)); err != nil {
			return
		}
	}
	sent()
	_, _ = io.Copy(io.Discard, conn)
}
