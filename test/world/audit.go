package world

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Request is one request that an account of a pod made to the API server.
type Request struct {
	At   time.Time
	Verb string
	// What it was for; Resource is empty where it was for none, as in discovery.
	Resource, Subresource, Name string
}

// audited is the part of an Event of audit.k8s.io/v1 that is read.
type audited struct {
	Verb      string                                                  `json:"verb"`
	At        time.Time                                               `json:"requestReceivedTimestamp"`
	User      struct{ Username string }                               `json:"user"`
	ObjectRef struct{ Namespace, Resource, Subresource, Name string } `json:"objectRef"`
}

// AgentRequests returns what the agent asked of the API server since then, by the server's own audit log.
func (w *World) AgentRequests(since time.Time) ([]Request, error) {
	cluster := filepath.Dir(filepath.Dir(os.Getenv("KUBECONFIG")))
	file, err := os.Open(filepath.Join(cluster, "logs", "audit.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	var all []Request
	for lines.Scan() {
		var e audited
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		if e.User.Username == "system:serviceaccount:"+AgentNamespace+":mountwarden" && e.At.After(since) {
			all = append(all, Request{e.At, e.Verb, e.ObjectRef.Resource, e.ObjectRef.Subresource, e.ObjectRef.Name})
		}
	}
	return all, lines.Err()
}
