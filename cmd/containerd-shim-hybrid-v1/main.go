// Command containerd-shim-hybrid-v1 is the containerd shim of the runtime
// io.containerd.hybrid.v1: containerd's own runc shim, with hybrid-runtime in the
// place of runc.
//
// It is made of the packages of containerd's 1.7 line, whose shims are accepted by
// 1.6, 1.7 and 2.x alike; those of 2.x are not accepted by 1.6. That line wants
// versions of other modules that BuildKit cannot live with, hence a module of its own.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/runtime/v2/runc/manager"
	"github.com/containerd/containerd/runtime/v2/shim"
	containerd "github.com/containerd/containerd/version"
)

// runtimeType is the name of the runtime; containerd makes the binary's of it.
const runtimeType = "io.containerd.hybrid.v1"

var version = "devel" // set by the linker

func main() {
	containerd.Version = version // what -v shows
	// the shims of 1.7 do not know the flag, with which 2.x asks them for their features
	if len(os.Args) == 2 && (os.Args[1] == "-info" || os.Args[1] == "--info") {
		if err := info(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", runtimeType, err)
			os.Exit(1)
		}
		return
	}
	register()
	shim.RunManager(context.Background(), manager.NewShimManager(runtimeType))
}
