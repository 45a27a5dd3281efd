package config

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid is in the chain of every error that rejects a value, be it a setting's or an annotation's.
var ErrInvalid = errors.New("invalid")

// maxShown bounds how much of a rejected value is shown: it may be an annotation of 256 KiB.
const maxShown = 80

// invalid rejects a value: it names the key, the value and what is allowed.
func invalid(key string, value any, allowed string) error {
	shown := fmt.Sprint(value)
	if len(shown) > maxShown {
		shown = shown[:maxShown] + "..."
	}
	return fmt.Errorf("%w %s %q: allowed is %s", ErrInvalid, key, shown, allowed)
}

// outOf rejects a value that is not one of a list.
func outOf[T ~string](key string, value any, allowed []T) error {
	return invalid(key, value, "one of "+join(allowed))
}

// outside rejects a number that is not within two bounds.
func outside(key string, value any, low, high int) error {
	return invalid(key, value, fmt.Sprintf("a whole number from %d to %d", low, high))
}

// join lists values for people.
func join[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}
