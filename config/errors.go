package config

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid is in the chain of every error that rejects a value of a setting or an annotation.
var ErrInvalid = errors.New("invalid")

// maxShownBytes bounds how much of a rejected value an error shows. It may be an annotation of 256
// KiB.
const maxShownBytes = 80

// rejectValue returns an error that names the key, the value and what is allowed.
func rejectValue(key string, value any, allowed string) error {
	shown := fmt.Sprint(value)
	if len(shown) > maxShownBytes {
		shown = shown[:maxShownBytes] + "..."
	}
	return fmt.Errorf("%w %s %q: allowed is %s", ErrInvalid, key, shown, allowed)
}

// rejectChoice rejects a value that is not one of a list.
func rejectChoice[T ~string](key string, value any, allowed []T) error {
	return rejectValue(key, value, "one of "+joinValues(allowed))
}

// rejectNumber rejects a number that is not within two bounds.
func rejectNumber(key string, value any, low, high int) error {
	return rejectValue(key, value, fmt.Sprintf("a whole number from %d to %d", low, high))
}

// joinValues lists values for people.
func joinValues[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}
