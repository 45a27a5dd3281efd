// Package pki makes the keys and certificates that the parts of a test cluster know each other by.
//
// Kubernetes takes a client's name from its certificate: the common name is the user, each
// organization a group (see "X509 client certificates" in its documentation). Everything is made
// anew for each start of a cluster and is valid for a month; nothing here is fit for anything else.
package pki
