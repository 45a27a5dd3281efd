// Package web shows the status of a node in a browser, as a page and as JSON.
//
// The server makes the whole page. Its one style and its one script are part of it, and the
// Content-Security-Policy allows these two by their hashes and nothing else. The script fetches the
// page again every few seconds while it is visible. The page and its filters work without it.
//
// It authenticates nobody. It must listen on a loopback address only, which
// config.Config.StatusAddress ensures. It answers only requests whose Host is a loopback address.
// So a page of an attacker, whose name was rebound to 127.0.0.1 (DNS rebinding), reads nothing. No
// request changes anything.
package web
