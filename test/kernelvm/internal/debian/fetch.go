package debian

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNone is wrapped when the archive holds no such package.
var ErrNone = errors.New("the archive holds no such package")

// Newest returns the name of the package that matches the pattern, which must match it whole, and has the highest version in its name.
func (r *Root) Newest(ctx context.Context, pattern string) (string, error) {
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return "", err
	}
	names, err := r.run(ctx, "apt-cache", "pkgnames", "linux-")
	if err != nil {
		return "", err
	}
	newest := newest(strings.Fields(names), re)
	if newest == "" {
		return "", fmt.Errorf("%w: %s", ErrNone, pattern)
	}
	return newest, nil
}

func newest(names []string, re *regexp.Regexp) (best string) {
	for _, name := range names {
		if re.MatchString(name) && (best == "" || slices.Compare(numbers(name), numbers(best)) > 0) {
			best = name
		}
	}
	return best
}

// numbers are those in a name, in their order.
func numbers(name string) (all []int) {
	for _, text := range strings.FieldsFunc(name, func(c rune) bool { return c < '0' || c > '9' }) {
		n, _ := strconv.Atoi(text) // of digits alone; one that is too large is the largest
		all = append(all, n)
	}
	return all
}

// Unpack unpacks the newest versions of packages into the folder to, without what they depend on.
func (r *Root) Unpack(ctx context.Context, to string, names ...string) error {
	return r.download(ctx, to, func(dir string) error {
		_, err := runIn(ctx, dir, r.env(), "apt-get", append([]string{"download"}, names...)...)
		return err
	})
}

// UnpackAll unpacks packages and all that they depend on, from the suite where it has them.
func (r *Root) UnpackAll(ctx context.Context, to string, from Suite, names ...string) error {
	return r.download(ctx, to, func(dir string) error {
		args := []string{
			"--yes", "--download-only", "--target-release", string(from), "-o", "Dir::Cache::archives=" + dir, "install",
		}
		if err := os.Mkdir(filepath.Join(dir, "partial"), 0o755); err != nil {
			return err
		}
		_, err := runIn(ctx, dir, r.env(), "apt-get", append(args, names...)...)
		return err
	})
}

func (r *Root) env() []string { return []string{"APT_CONFIG=" + r.path("apt.conf")} }

// download unpacks into the folder to whatever packages fetch puts into a temporary one.
func (r *Root) download(ctx context.Context, to string, fetch func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(r.dir, "download-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := fetch(dir); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(packages) == 0 {
		return cmp.Or(err, fmt.Errorf("%w: nothing was downloaded", ErrNone))
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, file := range packages {
		if _, err := run(ctx, nil, "dpkg", "--extract", file, to); err != nil {
			return err
		}
	}
	return nil
}
