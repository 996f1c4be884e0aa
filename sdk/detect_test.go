package sdk

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name    string
		project fstest.MapFS
		want    string
		found   []string // what an error names
	}{
		{"bare metal", fstest.MapFS{"Makefile": file("PROGRAMS := a\ninclude $(SDK)/baremetal.mk\n")}, BareMetal, nil},
		{"another Makefile", fstest.MapFS{"Makefile": file("# not baremetal.mk\nall:\n")}, "", nil},
		{"Zephyr", fstest.MapFS{"CMakeLists.txt": file("find_package(Zephyr REQUIRED)\n"), "prj.conf": file("")}, Zephyr, nil},
		{"Zephyr, written otherwise", fstest.MapFS{"CMakeLists.txt": file("FIND_PACKAGE ( Zephyr)\n")}, Zephyr, nil},
		{"a manifest of Zephyr", fstest.MapFS{"west.yml": file("url-base: https://github.com/zephyrproject-rtos\n")}, Zephyr, nil},
		{"another package", fstest.MapFS{"CMakeLists.txt": file("find_package(ZephyrHelpers)\n")}, "", nil},
		{"MCUXpresso's example", fstest.MapFS{"armgcc/build_release.sh": file("")}, MCUXpresso, nil},
		{"MCUXpresso by CMake", fstest.MapFS{"CMakeLists.txt": file("set(SdkRootDirPath $ENV{SdkRootDirPath})\n")}, MCUXpresso, nil},
		{"a manifest of MCUXpresso", fstest.MapFS{"west.yml": file("url: https://github.com/nxp-mcuxpresso/mcux-sdk\n")}, MCUXpresso, nil},
		{"STM32CubeMX", fstest.MapFS{"blink.ioc": file("")}, STM32Cube, nil},
		{"its Makefile", fstest.MapFS{"CM4/Makefile": file("")}, STM32Cube, nil},
		{"ST's library", fstest.MapFS{"Makefile": file("C_SOURCES = Drivers/STM32MP1xx_HAL_Driver/Src/a.c\n")}, STM32Cube, nil},
		{"nothing", fstest.MapFS{}, "", nil},
		{"a folder by that name", fstest.MapFS{"Makefile/x": file("")}, "", nil},
		{
			"two",
			fstest.MapFS{"CMakeLists.txt": file("find_package(Zephyr)"), "a.ioc": file("")},
			"",
			[]string{STM32Cube, Zephyr},
		},
		{
			"two signs of one", fstest.MapFS{"armgcc/x": file(""), "CMakeLists.txt": file("mcuxpresso")}, MCUXpresso, nil,
		},
		{
			"the sign is behind what is read",
			fstest.MapFS{"Makefile": file(strings.Repeat("#\n", maxProjectFile) + "include $(SDK)/baremetal.mk\n")},
			"", nil,
		},
	} {
		got, err := Detect(c.project)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
		var e *DetectError
		if err != nil && (!errors.As(err, &e) || !slices.Equal(e.Found, c.found) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}

// What hybrid init writes is known again.
func TestDetectProjects(t *testing.T) {
	for _, name := range Names() {
		tree, err := fs.Sub(templates, "templates/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Detect(tree); got != name || err != nil {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}
