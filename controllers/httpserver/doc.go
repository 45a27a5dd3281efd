// Package httpserver makes the HTTP servers of the agent: metrics, health and status.
//
// Who reaches such a port is unknown until a request is complete, so nothing that a client does
// before then may cost much. net/http bounds the time and the size of a request, not the number of
// connections. A server of this package has a limit of connections, and keeps answering at the
// limit: it never stops accepting, and closes an older connection of the client address that has
// the most of them. A client that sends its request at once, as the kubelet does, is served however
// many connections others leave open.
//
// The limit rests on Server.ConnState of net/http, which is called with StateNew in the goroutine that
// accepts, before the next connection is accepted (Server.Serve). It does not rest on StateActive, which
// requests that are given up reach as well (conn.serve): a request counts when a handler gets it.
//
// Do not use it for a server that must read request bodies: they are refused.
package httpserver
