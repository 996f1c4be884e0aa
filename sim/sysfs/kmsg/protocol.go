package kmsg

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// The part of include/uapi/linux/fuse.h that one file needs.
const (
	opForget      = 2
	opGetattr     = 3
	opSetattr     = 4
	opOpen        = 14
	opRead        = 15
	opWrite       = 16
	opStatfs      = 17
	opRelease     = 18
	opFlush       = 25
	opInit        = 26
	opInterrupt   = 36
	opDestroy     = 38
	opPoll        = 40
	opBatchForget = 42

	notifyPoll = 1

	major, minor = 7, 31 // no newer than what every kernel with poll speaks

	openDirect     = 1 << 0 // FOPEN_DIRECT_IO: every read is ours
	getattrOfFile  = 1 << 0 // FUSE_GETATTR_FH
	scheduleNotify = 1 << 0 // FUSE_POLL_SCHEDULE_NOTIFY

	headerIn  = 40
	headerOut = 16
	maxWrite  = 4096 // the least that the kernel accepts
	// maxRequest is FUSE_MIN_READ_BUFFER: a smaller buffer is refused.
	maxRequest = 8192
)

// request is one of the kernel's.
type request struct {
	op     uint32
	unique uint64
	body   []byte
}

// parse takes a request apart. The kernel makes no bad ones.
func parse(b []byte) (request, bool) {
	if len(b) < headerIn {
		return request{}, false
	}
	le := binary.NativeEndian
	return request{op: le.Uint32(b[4:]), unique: le.Uint64(b[8:]), body: b[headerIn:]}, true
}

// The fields of bodies, 0 where a body is too short to have them.

func (r request) u32(at int) uint32 {
	if at+4 > len(r.body) {
		return 0
	}
	return binary.NativeEndian.Uint32(r.body[at:])
}

func (r request) u64(at int) uint64 {
	if at+8 > len(r.body) {
		return 0
	}
	return binary.NativeEndian.Uint64(r.body[at:])
}

// message is what is written to the kernel: an answer, or with unique 0 a notice
// whose code is in the place of the errno.
func message(unique uint64, code int32, body []byte) []byte {
	ne := binary.NativeEndian
	b := make([]byte, 0, headerOut+len(body))
	b = ne.AppendUint32(b, uint32(headerOut+len(body)))
	b = ne.AppendUint32(b, uint32(code))
	b = ne.AppendUint64(b, unique)
	return append(b, body...)
}

// words is a body of 32-bit words.
func words(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// initOut is fuse_init_out, 64 bytes.
func initOut() []byte {
	return words(major, minor, 0, 0, 0, maxWrite, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)[:64]
}

// attrOut is fuse_attr_out. It is valid for no time: its size is where SEEK_END
// goes.
func attrOut(size int64, born time.Time) []byte {
	ne := binary.NativeEndian
	b := words(0, 0, 0, 0) // attr_valid, attr_valid_nsec, dummy
	b = ne.AppendUint64(b, 1)
	b = ne.AppendUint64(b, uint64(size))
	b = ne.AppendUint64(b, 0) // blocks
	for range 3 {             // atime, mtime, ctime
		b = ne.AppendUint64(b, uint64(born.Unix()))
	}
	b = append(b, words(0, 0, 0, unix.S_IFREG|0o644, 1, 0, 0, 0, 4096, 0)...)
	return b
}
