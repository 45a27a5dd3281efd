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

// The names by which Leases are found and parsed. They are an API.
const (
	ledgerName = "mountwarden-ledger"

	labelManagedBy      = "app.kubernetes.io/managed-by"
	managedBy           = "mountwarden"
	labelRecord         = "mountwarden.io/record"
	recordLedger        = "ledger" // the one Lease that all agents share
	recordOwner         = "owner"  // the Lease of one owner, whose pods were evicted a short while ago
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

func newLedgerLease(namespace string) *coordinationv1.Lease {
	return newLease(namespace, ledgerName, recordLedger)
}

func newLease(namespace, name, record string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, Annotations: map[string]string{},
		Labels: map[string]string{labelManagedBy: managedBy, labelRecord: record},
	}}
}

// stampLease notes which agent changed the Lease last, and when.
func (s *Store) stampLease(lease *coordinationv1.Lease) {
	now := metav1.NewMicroTime(s.now())
	lease.Spec.HolderIdentity, lease.Spec.RenewTime = &s.config.NodeName, &now
}

// ownerLeaseName names the Lease of an owner. The owner's kind and name are in it for people; the
// hash makes it unique. Causes that a mount may recover from have a Lease, and so a streak, of
// their own (see recoverableSuffix).
func ownerLeaseName(e Entry) string {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%s/%s", e.Namespace, e.Owner.Kind, e.withCauseSuffix(string(e.Owner.UID))) // never fails
	return fmt.Sprintf("mountwarden-%s-%s-%016x", toNamePart(e.Owner.Kind, 40), toNamePart(e.Owner.Name, 160), h.Sum64())
}

// toNamePart makes text a part of an object's name, of at most limit bytes. The API server allows
// any name in an owner reference.
func toNamePart(text string, limit int) string {
	text = regexp.MustCompile(`[^a-z0-9.-]+`).ReplaceAllString(strings.ToLower(text), "-")
	// No label of a name may be empty, or begin or end with a dash.
	text = regexp.MustCompile(`[.-]*\.[.-]*`).ReplaceAllString(text[:min(len(text), limit)], ".")
	return strings.Trim(text, "-.")
}

// toLabelValue makes text a label's value: a character that is not valid there becomes a dash.
func toLabelValue(text string) string {
	if len(validation.IsValidLabelValue(text)) == 0 {
		return text
	}
	value := regexp.MustCompile(`[^A-Za-z0-9_.-]`).ReplaceAllString(text, "-")
	return strings.Trim(value[:min(len(value), validation.LabelValueMaxLength)], "-_.")
}
