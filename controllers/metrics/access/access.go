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
	fresh     = 2 * time.Minute // for so long an answer is not asked for again; the kubelet's authentication.webhook.cacheTTL
	kept      = time.Hour       // for so long what was allowed is, while the API server is away
	callLimit = 3 * time.Second // of the reviews; a scrape has 10 s by default
	most      = 64              // callers that are remembered

	reviewsPerSecond = 1 // of callers that are not remembered
	reviewsAtOnce    = 10
)

// Gate asks the API server who may read, and remembers whom it allowed.
type Gate struct {
	client  kubernetes.Interface
	now     func() time.Time
	allowed *cache.LRUExpireCache // from the token's digest to when it was allowed
	flights singleflight.Group
	reviews *rate.Limiter
}

// clock is what the cache reads the time from.
type clock func() time.Time

// Now returns the time.
func (c clock) Now() time.Time { return c() }

// New returns a Gate that has asked nothing yet.
func New(client kubernetes.Interface, now func() time.Time) *Gate {
	return &Gate{client: client, now: now, allowed: cache.NewLRUExpireCacheWithClock(most, clock(now)), reviews: rate.NewLimiter(reviewsPerSecond, reviewsAtOnce)}
}

// refusal is a request that is not served, and the status of HTTP that says so.
type refusal struct {
	status int
	why    string
}

func (r refusal) Error() string { return r.why }

// Guard serves next to whom the API server allows to get the path. The rest are told why not, with a status as Kubernetes
// has it: 401 for who is not known, 403 for who may not, 503 while it cannot be asked.
func (g *Gate) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := g.admit(r)
		var refused refusal
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case errors.As(err, &refused):
			if refused.status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			http.Error(w, refused.why, refused.status)
		default:
			http.Error(w, "the API server cannot be asked who may read: "+err.Error(), http.StatusServiceUnavailable)
		}
	})
}

func (g *Gate) admit(r *http.Request) error {
	if r.Method != http.MethodGet {
		return refusal{http.StatusMethodNotAllowed, "only GET is served"}
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return refusal{http.StatusUnauthorized, "say who you are: Authorization: Bearer TOKEN, such as a ServiceAccount's"}
	}
	return g.permit(r.Context(), token, r.URL.Path)
}

// permit is nil for who may get the path.
func (g *Gate) permit(ctx context.Context, token, path string) error {
	key := sha256.Sum256([]byte(path + "\x00" + token))
	remembered, _ := g.allowed.Get(key)
	at, known := remembered.(time.Time)
	if known && g.now().Sub(at) < fresh {
		return nil
	}
	_, err, _ := g.flights.Do(string(key[:]), func() (any, error) { return nil, g.review(ctx, token, path) })
	var refused refusal
	switch {
	case err == nil:
		g.allowed.Add(key, g.now(), kept)
	case errors.As(err, &refused):
		g.allowed.Remove(key)
	case known:
		return nil
	}
	return err
}

// review asks the API server. What it denies is a refusal; any other error says that it gave no answer.
func (g *Gate) review(ctx context.Context, token, path string) error {
	if !g.reviews.AllowN(g.now(), 1) {
		return errors.New("too many callers that are not known yet; try again in some seconds")
	}
	// Who hangs up does not take the answer from the others that wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
	defer cancel()
	user, err := g.identify(ctx, token)
	if err != nil {
		return err
	}
	return g.authorize(ctx, user, path)
}

func (g *Gate) identify(ctx context.Context, token string) (authenticationv1.UserInfo, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	answer, err := g.client.AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("review the token: %w", err)
	}
	if !answer.Status.Authenticated {
		return authenticationv1.UserInfo{}, refusal{http.StatusUnauthorized, "the API server does not know this token"}
	}
	return answer.Status.User, nil
}

func (g *Gate) authorize(ctx context.Context, user authenticationv1.UserInfo, path string) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra(user.Extra),
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
	}}
	answer, err := g.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("review the access of %s: %w", user.Username, err)
	}
	if !answer.Status.Allowed {
		return refusal{http.StatusForbidden, fmt.Sprintf("%s may not get the nonResourceURL %s: bind it to a ClusterRole that says so", user.Username, path)}
	}
	return nil
}

func extra(of map[string]authenticationv1.ExtraValue) map[string]authorizationv1.ExtraValue {
	to := make(map[string]authorizationv1.ExtraValue, len(of))
	for k, v := range of {
		to[k] = authorizationv1.ExtraValue(v)
	}
	return to
}
