package remoteproc

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// FirmwareFolder returns the folder, as seen through the host's root, in which the
// kernel finds a firmware file first of those that may be written to: the one of
// the parameter firmware_class.path if the administrator set it, else
// /lib/firmware (Documentation/driver-api/firmware/fw_search_path.rst). Others that
// come between (updates, the kernel's version) belong to the distribution. The
// kernel looks them up in the mount namespace of process 1.
func (h Host) FirmwareFolder() (string, error) {
	b, err := os.ReadFile(h.path("sys/module/firmware_class/parameters/path"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the firmware search path: %w", err)
	}
	// the kernel adds one newline when it is read; one more, left by echo, is part of
	// the path for 6.1
	if path := strings.TrimSuffix(string(b), "\n"); path != "" {
		return h.path(path), nil
	}
	return h.path("lib/firmware"), nil
}
