package ledger

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// The names that Leases are found and understood by. They are an API.
const (
	ledgerName = "mountwarden-ledger"

	labelManagedBy      = "app.kubernetes.io/managed-by"
	managedBy           = "mountwarden"
	labelRecord         = "mountwarden.io/record"
	recordLedger        = "ledger" // the one that all agents share
	recordOwner         = "owner"  // of one owner, whose pods were removed a short while ago
	labelOwnerKind      = "mountwarden.io/owner-kind"
	labelOwnerName      = "mountwarden.io/owner-name"
	labelOwnerNamespace = "mountwarden.io/owner-namespace"

	annotationLedger   = "mountwarden.io/ledger"
	annotationOwner    = "mountwarden.io/owner"
	annotationPod      = "mountwarden.io/pod"
	annotationPodUID   = "mountwarden.io/pod-uid"
	annotationBackend  = "mountwarden.io/backend"
	annotationCause    = "mountwarden.io/cause"
	annotationAttempts = "mountwarden.io/attempts"
	annotationFirst    = "mountwarden.io/first-removed-at"
	annotationCounted  = "mountwarden.io/counted-at"
)

func newLedger(namespace string) *coordinationv1.Lease {
	return newLease(namespace, ledgerName, recordLedger)
}

func newLease(namespace, name, record string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, Annotations: map[string]string{},
		Labels: map[string]string{labelManagedBy: managedBy, labelRecord: record},
	}}
}

// stamp says who changed the Lease last, and when.
func (s *Store) stamp(lease *coordinationv1.Lease) {
	now := metav1.NewMicroTime(s.now())
	lease.Spec.HolderIdentity, lease.Spec.RenewTime = &s.config.NodeName, &now
}

// leaseName names the Lease of an owner's row: for people by its kind and name, for the API by what is hashed. Causes that a mount may
// recover from have a row of their own (see recoverable).
func leaseName(e Entry) string {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%s/%s", e.Namespace, e.Owner.Kind, e.keyed(string(e.Owner.UID))) // never fails
	return fmt.Sprintf("mountwarden-%s-%s-%016x", inName(e.Owner.Kind, 40), inName(e.Owner.Name, 160), h.Sum64())
}

// inName makes text a part of an object's name, of at most limit bytes. The API server lets an owner have any name.
func inName(text string, limit int) string {
	text = regexp.MustCompile(`[^a-z0-9.-]+`).ReplaceAllString(strings.ToLower(text), "-")
	text = regexp.MustCompile(`[.-]*\.[.-]*`).ReplaceAllString(text[:min(len(text), limit)], ".") // no label of a name is empty, or begins or ends with a dash
	return strings.Trim(text, "-.")
}

// label makes text a label's value: what is not allowed there becomes a dash.
func label(text string) string {
	if len(validation.IsValidLabelValue(text)) == 0 {
		return text
	}
	value := regexp.MustCompile(`[^A-Za-z0-9_.-]`).ReplaceAllString(text, "-")
	return strings.Trim(value[:min(len(value), validation.LabelValueMaxLength)], "-_.")
}
