// Package kubernetes runs firmware on a node of Kubernetes: etcd, the API server,
// controllers, scheduler and kubelet (make kubernetes), on a containerd that knows our
// shim, in a network of their own. The board is simulated. The tests need root, and leave
// nothing.
package kubernetes
