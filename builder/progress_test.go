package builder

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestPlainError(t *testing.T) {
	for in, want := range map[string]string{
		"failed to solve: rpc error: code = Unknown desc = open a: read-only file system":                                 "open a: read-only file system",
		"failed to solve: ResourceExhausted: rpc error: code = ResourceExhausted desc = write a: no space left on device": "write a: no space left on device",
		`imx8m-mini: process "make" did not complete successfully: exit code: 2`:                                          `imx8m-mini: process "make" did not complete successfully: exit code: 2`,
		`failed to compute cache key: failed to calculate checksum of ref ab::cd: "/out/a.elf": not found`:                `"/out/a.elf": not found`,
		"failed to push x: failed to do request: dial tcp: connection refused":                                            "failed to push x: failed to do request: dial tcp: connection refused",
		status.Error(codes.Unavailable, "error reading from server: EOF").Error():                                         "error reading from server: EOF",
	} {
		cause := errors.New(in)
		err := &plainError{cause}
		if err.Error() != want || !errors.Is(err, cause) {
			t.Errorf("%q becomes %q", in, err)
		}
	}
}
