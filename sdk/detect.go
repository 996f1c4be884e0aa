package sdk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// DetectError reports a project whose files do not say which SDK it wants.
type DetectError struct {
	Found []string // the SDKs that it could want; none: no file tells
}

func (e *DetectError) Error() string {
	if len(e.Found) > 0 {
		return fmt.Sprintf("the folder looks like a project of more than one SDK (%s): choose with --sdk", strings.Join(e.Found, ", "))
	}
	return fmt.Sprintf("no Dockerfile, and no file that tells the SDK: add one of them, or choose with --sdk %s", strings.Join(Names(), "|"))
}

// maxProjectFile bounds what is read of a file to find out what it is for.
const maxProjectFile = 1 << 20

// signs are what tells a project of an SDK: a file whose text matches.
var signs = []struct {
	sdk  string
	file string         // pattern of path.Match
	text *regexp.Regexp // nil: that it is there is enough
}{
	{BareMetal, "Makefile", regexp.MustCompile(`(?m)^-?include\s.*baremetal\.mk`)},
	{MCUXpresso, "armgcc", nil},
	{MCUXpresso, "CMakeLists.txt", regexp.MustCompile(`(?i)mcuxpresso|SdkRootDirPath|MCUX_SDK`)},
	{MCUXpresso, "west.yml", regexp.MustCompile(`(?i)mcux-?sdk|nxp-?mcuxpresso|NXPmicro`)},
	{STM32Cube, "*.ioc", nil},
	{STM32Cube, "Makefile", regexp.MustCompile(`STM32MP1xx_HAL_Driver|STM32Cube`)},
	{STM32Cube, "CM4/Makefile", nil},
	{Zephyr, "CMakeLists.txt", regexp.MustCompile(`(?i)find_package\s*\(\s*Zephyr\b`)},
	{Zephyr, "west.yml", regexp.MustCompile(`zephyrproject-rtos`)},
}

// Detect finds out which SDK a project is made for by the files in its folder. If
// they do not say, the error is a *DetectError.
func Detect(project fs.FS) (string, error) {
	e := &DetectError{}
	for _, s := range signs {
		if len(e.Found) > 0 && e.Found[len(e.Found)-1] == s.sdk {
			continue
		}
		found, err := matches(project, s.file, s.text)
		if err != nil {
			return "", err
		}
		if found {
			e.Found = append(e.Found, s.sdk)
		}
	}
	if len(e.Found) == 1 {
		return e.Found[0], nil
	}
	return "", e
}

// matches reports whether a file of the project has the name and the text.
func matches(project fs.FS, pattern string, text *regexp.Regexp) (bool, error) {
	entries, err := fs.ReadDir(project, path.Dir(pattern))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	for _, entry := range entries {
		name := path.Join(path.Dir(pattern), entry.Name())
		if ok, err := path.Match(pattern, name); err != nil || !ok {
			continue // the patterns are constants: none is malformed
		}
		if text == nil {
			return true, nil
		}
		head, err := readHead(project, name)
		if err != nil {
			return false, err
		}
		if text.Match(head) {
			return true, nil
		}
	}
	return false, nil
}

// readHead reads the start of a file; of what is none, a folder or a pipe, nothing.
func readHead(project fs.FS, name string) ([]byte, error) {
	if info, err := fs.Stat(project, name); err != nil || !info.Mode().IsRegular() {
		return nil, nil // a link to nowhere tells as little as a folder
	}
	f, err := project.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxProjectFile))
}
