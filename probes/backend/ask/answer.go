package ask

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
)

// Answer is the result of a Question.
type Answer struct {
	MountReadiness probes.MountReadiness
	Driver         string // of a Volume; "" when it is not known, and MountReadiness says why
}

// answerJSON is an Answer as JSON.
type answerJSON struct {
	Readiness string `json:"readiness"`
	Detail    string `json:"detail"`
	Driver    string `json:"driver,omitempty"`
}

// Encode returns the answer as JSON, of at most MaxAnswer bytes.
func (a Answer) Encode() ([]byte, error) {
	if len(a.Driver) > maxDriver {
		return nil, fmt.Errorf("write an answer: the driver's name has %d bytes, at most %d are allowed", len(a.Driver), maxDriver)
	}
	all, err := json.Marshal(answerJSON{a.MountReadiness.Readiness.String(), truncateText(a.MountReadiness.Detail), a.Driver})
	if err != nil {
		return nil, fmt.Errorf("write an answer: %w", err)
	}
	return all, nil
}

// ReadAnswer reads r to the end, and parses the answer.
func ReadAnswer(r io.Reader) (Answer, error) {
	var t answerJSON
	if err := readJSON(r, MaxAnswer, &t); err != nil {
		return Answer{}, fmt.Errorf("read an answer: %w", err)
	}
	if len(t.Driver) > maxDriver {
		return Answer{}, fmt.Errorf("read an answer: the driver's name has %d bytes, at most %d are allowed", len(t.Driver), maxDriver)
	}
	for _, readiness := range []probes.Readiness{probes.Unclear, probes.Ready, probes.NotReady} {
		if t.Readiness == readiness.String() {
			return Answer{probes.MountReadiness{Readiness: readiness, Detail: truncateText(t.Detail)}, t.Driver}, nil
		}
	}
	return Answer{}, fmt.Errorf("read an answer: readiness %q is none of Unclear, Ready, NotReady", truncateText(t.Readiness))
}

// readJSON reads one JSON object and nothing else.
func readJSON(r io.Reader, limit int64, into any) error {
	all, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return err
	case int64(len(all)) > limit:
		return fmt.Errorf("it has more than the %d bytes that are allowed", limit)
	}
	decoder := json.NewDecoder(bytes.NewReader(all))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("it is not understood: %w", err)
	}
	if rest := bytes.TrimSpace(all[decoder.InputOffset():]); len(rest) > 0 {
		return fmt.Errorf("%d bytes follow it", len(rest))
	}
	return nil
}

// truncateText bounds text that others choose.
func truncateText(text string) string {
	if len(text) > maxDetail {
		text = text[:maxDetail-len("...")] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}
