// Package access lets only those read the metrics whom the API server knows, and whom it lets get /metrics: a TokenReview says whose the
// bearer token is, a SubjectAccessReview what he may. That is what scrapers of Kubernetes' own components need, so that one role serves all.
//
// Answers are remembered, since a scraper comes every few seconds. What the API server once allowed goes on for an hour while it is away,
// as that is when a node agent's metrics are needed most; a denial is never remembered. How often it is asked is bounded, whoever calls.
//
// It is the small part of controller-runtime's filters package that an agent needs: that one has the whole generic API server in it, which
// costs each node 20 MiB of memory.
package access
