// Package web shows the status of a node to a browser, as a page and as JSON.
//
// The page is made on the server, with everything in it: its one style and its one script are part of it, and the Content-Security-Policy
// allows these two by their hashes and nothing else. The script fetches the page anew every few seconds while it is seen; without it the
// page and its filters work all the same.
//
// It asks nobody who they are. It must listen on a loopback address alone, which config.Config.StatusAddress makes sure of, and answers
// only requests whose Host is one: a page of a stranger, whose name was bound anew to 127.0.0.1 (DNS rebinding), reads nothing. It changes
// nothing, whatever it is asked.
package web
