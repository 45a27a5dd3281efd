package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/kubernetes"
)

const (
	freshFor      = 2 * time.Minute // until the next review; the kubelet's authentication.webhook.cacheTTL
	keptFor       = time.Hour       // an allowed caller stays allowed while the API server is unreachable
	reviewTimeout = 3 * time.Second // of the reviews; a scrape has 10 s by default
	maxCallers    = 64              // callers that are cached

	reviewsPerSecond = 1 // of callers that are not cached
	reviewsAtOnce    = 10
)

// Gate asks the API server who may read, and caches whom it allowed.
type Gate struct {
	client   kubernetes.Interface
	now      func() time.Time
	allowed  *cache.LRUExpireCache // from the token's digest to when it was allowed
	inFlight singleflight.Group
	reviews  *rate.Limiter
}

// cacheClock is where the cache reads the time from.
type cacheClock func() time.Time

// Now returns the time.
func (c cacheClock) Now() time.Time { return c() }

// New returns a Gate with an empty cache.
func New(client kubernetes.Interface, now func() time.Time) *Gate {
	return &Gate{client: client, now: now, allowed: cache.NewLRUExpireCacheWithClock(maxCallers, cacheClock(now)),
		reviews: rate.NewLimiter(reviewsPerSecond, reviewsAtOnce)}
}

// accessError is the error of a request that is not served, with its HTTP status.
type accessError struct {
	status  int
	message string
}

func (r accessError) Error() string { return r.message }

// Guard serves next to callers whom the API server allows to get the path. Others get the reason,
// and a status as Kubernetes uses it: 401 for an unknown caller, 403 for one who is not allowed,
// 503 while the API server is unreachable.
func (g *Gate) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := g.checkRequest(r)
		var denied accessError
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case errors.As(err, &denied):
			if denied.status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			http.Error(w, denied.message, denied.status)
		default:
			http.Error(w, "the API server cannot be asked who may read: "+err.Error(), http.StatusServiceUnavailable)
		}
	})
}

// checkRequest returns nil if the request may be served.
func (g *Gate) checkRequest(r *http.Request) error {
	if r.Method != http.MethodGet {
		return accessError{http.StatusMethodNotAllowed, "only GET is served"}
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return accessError{http.StatusUnauthorized, "say who you are: Authorization: Bearer TOKEN, such as a ServiceAccount's"}
	}
	return g.checkAccess(r.Context(), token, r.URL.Path)
}

// checkAccess returns nil if the token's owner may get the path.
func (g *Gate) checkAccess(ctx context.Context, token, path string) error {
	key := sha256.Sum256([]byte(path + "\x00" + token))
	cached, _ := g.allowed.Get(key)
	at, known := cached.(time.Time)
	if known && g.now().Sub(at) < freshFor {
		return nil
	}
	_, err, _ := g.inFlight.Do(string(key[:]), func() (any, error) { return nil, g.reviewAccess(ctx, token, path) })
	var denied accessError
	switch {
	case err == nil:
		g.allowed.Add(key, g.now(), keptFor)
	case errors.As(err, &denied):
		g.allowed.Remove(key)
	case known:
		return nil
	}
	return err
}

// reviewAccess asks the API server. It returns an accessError if the API server denies, and any
// other error if there is no answer.
func (g *Gate) reviewAccess(ctx context.Context, token, path string) error {
	if !g.reviews.AllowN(g.now(), 1) {
		return errors.New("too many callers that are not known yet; try again in some seconds")
	}
	// A caller that disconnects must not cancel the review for others that wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewTimeout)
	defer cancel()
	user, err := g.authenticateToken(ctx, token)
	if err != nil {
		return err
	}
	return g.authorizeUser(ctx, user, path)
}

// authenticateToken returns the owner of the token.
func (g *Gate) authenticateToken(ctx context.Context, token string) (authenticationv1.UserInfo, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	answer, err := g.client.AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("review the token: %w", err)
	}
	if !answer.Status.Authenticated {
		return authenticationv1.UserInfo{}, accessError{http.StatusUnauthorized, "the API server does not know this token"}
	}
	return answer.Status.User, nil
}

// authorizeUser returns nil if the user may get the path.
func (g *Gate) authorizeUser(ctx context.Context, user authenticationv1.UserInfo, path string) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: convertExtra(user.Extra),
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
	}}
	answer, err := g.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("review the access of %s: %w", user.Username, err)
	}
	if !answer.Status.Allowed {
		return accessError{http.StatusForbidden, fmt.Sprintf("%s may not get the nonResourceURL %s: bind it to a ClusterRole that says so", user.Username, path)}
	}
	return nil
}

func convertExtra(of map[string]authenticationv1.ExtraValue) map[string]authorizationv1.ExtraValue {
	to := make(map[string]authorizationv1.ExtraValue, len(of))
	for k, v := range of {
		to[k] = authorizationv1.ExtraValue(v)
	}
	return to
}
