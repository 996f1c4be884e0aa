package image

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
)

// unzstd reads zstd. The decoder is the standard library's own, which nothing exports
// but debug/elf, for sections that are compressed: so the frames are given to it as
// the one section of an ELF file. That adds 144 KB to hybrid-runtime;
// github.com/klauspost/compress adds 233 KB, and 0.2 ms to the start of every verb.
// It does what layers need: checksums are verified, frames follow each other, frames to
// skip are skipped (zstd:chunked has them), and it remembers the 8 MiB that RFC 8878
// wants of a decoder: what needs a larger window (zstd --long) is an error.
func unzstd(r io.Reader) (io.Reader, error) {
	const headerSize, sectionSize, compressionSize = 64, 64, 24
	const start = headerSize + sectionSize
	head := make([]byte, start+compressionSize)
	copy(head, elf.ELFMAG)
	head[elf.EI_CLASS], head[elf.EI_DATA], head[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	le := binary.LittleEndian
	le.PutUint32(head[20:], uint32(elf.EV_CURRENT))
	le.PutUint64(head[40:], headerSize)  // of the section header
	le.PutUint16(head[58:], sectionSize) // of each
	le.PutUint16(head[60:], 1)           // how many
	section := head[headerSize:]
	le.PutUint32(section[4:], uint32(elf.SHT_PROGBITS))
	le.PutUint64(section[8:], uint64(elf.SHF_COMPRESSED))
	le.PutUint64(section[24:], start) // of its content
	le.PutUint64(section[32:], 1<<62) // how much there is, the frames say
	le.PutUint32(head[start:], uint32(elf.COMPRESS_ZSTD))
	f, err := elf.NewFile(&prefixed{head, r, start + compressionSize})
	if err != nil {
		return nil, err
	}
	return f.Sections[0].Open(), nil
}

// prefixed is head followed by what r has, which can only be read onwards: next is
// the offset of what comes next.
type prefixed struct {
	head []byte
	r    io.Reader
	next int64
}

var errBackwards = errors.New("zstd: read backwards")

func (p *prefixed) ReadAt(b []byte, off int64) (int, error) {
	if off < int64(len(p.head)) {
		if n := copy(b, p.head[off:]); n < len(b) {
			return n, io.ErrUnexpectedEOF
		}
		return len(b), nil
	}
	if off < p.next {
		return 0, errBackwards
	}
	skipped, err := io.CopyN(io.Discard, p.r, off-p.next) // all of it is part of the digest
	p.next += skipped
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(p.r, b)
	p.next += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
