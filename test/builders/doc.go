// Package builders builds the same firmware with every BuildKit, and wants the same
// image from each: the embedded one, the served one, the one of a user without
// rights, buildkitd, and Docker Engines with and without the containerd image store. It
// loads images into those Docker Engines, containerd and podman, and wants them there
// as they were built, and taken from there by the runtime on a simulated board.
//
// The daemons are real ones (make engines), started by the tests on sockets and in
// folders of their own. They need root, and leave nothing.
package builders
