package csidriver

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mountwarden/mountwarden/test/csidriver/volume"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// answer gives the response, or an error with the code that CSI asks for.
func answer[T any](response *T, err error) (*T, error) {
	if err != nil {
		return nil, status.Error(codeOf(err), err.Error())
	}
	return response, nil
}

func codeOf(err error) codes.Code {
	table := []struct {
		target error
		code   codes.Code
	}{
		{errInvalid, codes.InvalidArgument},
		{faultfs.ErrUsage, codes.InvalidArgument},
		{errNoStaging, codes.Unimplemented},
		{volume.ErrNotStaged, codes.FailedPrecondition},
		{volume.ErrConflict, codes.AlreadyExists},
		{volume.ErrBusy, codes.Aborted},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
	}
	for _, row := range table {
		if errors.Is(err, row.target) {
			return row.code
		}
	}
	return codes.Internal
}
