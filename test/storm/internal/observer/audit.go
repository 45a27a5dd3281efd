package observer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Policy is the audit policy that the observer needs. Who is named does the cluster's own work.
func Policy(own string) []byte {
	return fmt.Appendf(nil, `{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"], "rules": [
{"level": "None", "users": [%q]},
{"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts"]},
{"level": "None", "users": ["system:apiserver"]},
{"level": "RequestResponse", "verbs": ["delete", "deletecollection"], "resources": [{"group": "", "resources": ["pods"]}]},
{"level": "RequestResponse", "verbs": ["create"], "resources": [{"group": "", "resources": ["pods/eviction"]}]},
{"level": "Metadata"}]}`, own)
}

// line is what is read of a line of the audit log (audit.k8s.io/v1 Event).
type line struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource    string    `json:"resource"`
		Subresource string    `json:"subresource"`
		Namespace   string    `json:"namespace"`
		Name        string    `json:"name"`
		UID         types.UID `json:"uid"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	RequestObject  json.RawMessage  `json:"requestObject"`
	ResponseObject json.RawMessage  `json:"responseObject"`
	StageTimestamp metav1.MicroTime `json:"stageTimestamp"`
}

// call is one request to remove a pod that the API server has answered well.
type call struct {
	At    time.Time
	User  string
	Verb  string // evict or delete
	Pod   types.NamespacedName
	UID   types.UID
	grace *int64
}

func (c call) String() string { return c.Pod.String() + " " + string(c.UID) }

// tail reads the audit log as it grows.
func (o *Observer) tail(ctx context.Context) error {
	file, err := os.Open(o.Audit)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer file.Close()
	reader, again := bufio.NewReaderSize(file, 1<<20), time.NewTicker(50*time.Millisecond)
	defer again.Stop()
	var text []byte
	for {
		part, err := reader.ReadBytes('\n')
		text = append(text, part...)
		switch {
		case err == nil:
			if err := o.audit(text); err != nil {
				return err
			}
			text = text[:0]
			continue
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("read the audit log: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}

// audit takes note of one line.
func (o *Observer) audit(text []byte) error {
	if !o.concerns(text) {
		return nil
	}
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, agent := agentNode(l.User.Username); agent {
		o.requests[l.kind()]++
	}
	verb := l.removal()
	if verb == "" || l.ResponseStatus.Code >= 300 {
		return nil
	}
	c, err := l.call(verb)
	if err != nil {
		return err
	}
	o.accepted(c)
	return nil
}

func (o *Observer) concerns(text []byte) bool {
	for _, ns := range o.Namespaces {
		if bytes.Contains(text, []byte(`"namespace":"`+ns+`"`)) {
			return true
		}
	}
	return false
}

func (l line) kind() string {
	kind := l.Verb + " " + l.ObjectRef.Resource
	if l.ObjectRef.Subresource != "" {
		kind += "/" + l.ObjectRef.Subresource
	}
	return kind
}

func (l line) removal() string {
	switch l.kind() {
	case "create pods/eviction":
		return "evict"
	case "delete pods":
		return "delete"
	default:
		return ""
	}
}

// call reads which pod was meant. The answer to a deletion is the pod, or a Status that names its UID.
func (l line) call(verb string) (call, error) {
	c := call{At: l.StageTimestamp.Time, User: l.User.Username, Verb: verb, Pod: types.NamespacedName{Namespace: l.ObjectRef.Namespace, Name: l.ObjectRef.Name}}
	options := &metav1.DeleteOptions{}
	var err error
	if verb == "evict" {
		eviction := policyv1.Eviction{DeleteOptions: options}
		err = json.Unmarshal(l.RequestObject, &eviction)
	} else if len(l.RequestObject) > 0 {
		err = json.Unmarshal(l.RequestObject, options)
	}
	if err != nil {
		return call{}, fmt.Errorf("read the audit log: the request %s: %w", l.RequestObject, err)
	}
	c.grace = options.GracePeriodSeconds
	if options.Preconditions != nil && options.Preconditions.UID != nil {
		c.UID = *options.Preconditions.UID
	}
	return c, nil
}
