// Package engines runs firmware under the engines that people have: containerd,
// Docker and podman, which take hybrid-runtime for runc, and containerd and Docker
// with our shim. One table of behaviours is wanted from each.
//
// The engines are Debian's, and newer ones that are built (make engines), started by
// the tests on sockets and in folders of their own; the board is simulated. They need
// root, and leave nothing.
package engines
