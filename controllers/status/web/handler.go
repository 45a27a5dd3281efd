package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/mountwarden/mountwarden/controllers/status"
)

// The paths of the status. The first is the page, or JSON for who accepts that and no HTML; the
// second is always JSON. Both take the parameters namespace, pod and state of status.NewFilter.
const (
	Path     = "/statusz"
	PathJSON = "/statusz.json"
)

// NewHandler returns the handler of the status. A server of httpserver hands it only requests that
// read.
func NewHandler(snapshot func() status.Snapshot) http.Handler {
	h := &statusHandler{snapshot: snapshot}
	mux := http.NewServeMux()
	mux.HandleFunc(Path, h.serveStatus)
	mux.HandleFunc(PathJSON, h.serveStatus)
	mux.Handle("/{$}", http.RedirectHandler(Path, http.StatusFound))
	return guardHandler(mux)
}

type statusHandler struct{ snapshot func() status.Snapshot }

// guardHandler rejects requests that may come from an attacker's page, and tells the browser what
// this page may do.
func guardHandler(next http.Handler) http.Handler {
	policy := buildSecurityPolicy()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		switch {
		case !isLoopback(r.Host):
			http.Error(w, fmt.Sprintf("Host is %q; allowed are localhost and loopback addresses, as kubectl port-forward has them", r.Host), http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isLoopback says whether a Host header names this host, with any port: kubectl port-forward
// chooses its own.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

func (h *statusHandler) serveStatus(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	filter, err := status.NewFilter(query.Get("namespace"), query.Get("pod"), query.Get("state"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s := filter.Apply(h.snapshot())
	w.Header().Set("Vary", "Accept")
	if wantsJSON(r) {
		w.Header().Set("Content-Type", "application/json")
		_ = status.WriteJSON(w, s, "") // whoever asked has gone
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = writePage(w, s, filter) // the same
}

// wantsJSON needs no full negotiation: a browser always accepts HTML, and a program that does not
// says what it wants.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return r.URL.Path == PathJSON || strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}
