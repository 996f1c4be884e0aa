// Package kernel tests the runtime's binary on remote processors: each script of
// testdata runs twice, on the simulated interface of the kernel and on the real one
// in the virtual board, and must see the same.
//
// The tests take root, /dev/fuse and QEMU; they are built with the tag kernel, and
// run by `make test-kernel`.
package kernel
