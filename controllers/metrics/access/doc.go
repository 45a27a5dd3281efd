// Package access serves the metrics only to callers whom the API server knows and allows to get
// /metrics. A TokenReview says who the owner of the bearer token is, a SubjectAccessReview what the
// owner may do. Scrapers of Kubernetes' own components need the same, so one role serves all.
//
// A Gate caches answers, because a scraper comes every few seconds. What the API server once
// allowed stays allowed for an hour while the API server is unreachable, because a node agent's
// metrics are needed most then. A denial is never cached. The number of reviews is bounded, whoever
// calls.
//
// It is the small part of controller-runtime's filters package that an agent needs. That package
// contains the whole generic API server, which costs each node 20 MiB of memory.
package access
