package firmware

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
)

func TestQuiet(t *testing.T) {
	const at, offset = 0x1000, 0x100
	memory := []board.Region{{Start: at, Linux: at, Size: 0x1000, Kind: board.Boot}}
	file := make([]byte, offset+0x40)
	binary.LittleEndian.PutUint32(file[offset+4:], at+0x21) // the reset vector
	segments := []Segment{{Addr: at, Offset: offset, FileSize: 0x40, MemSize: 0x100}}
	for _, c := range []struct {
		name   string
		mcu    string
		memory []board.Region
		entry  uint64
		want   []Patch
	}{
		{"M, where it is entered and where the vector says", "cortex-m4", memory, at + 0x11, []Patch{{offset + 0x10, quietM}, {offset + 0x20, quietM}}},
		{"M, the same", "cortex-m7", memory, at + 0x21, []Patch{{offset + 0x20, quietM}}},
		{"M, the entry is not Thumb's", "cortex-m33", nil, at + 0x20, []Patch{{offset + 0x20, quietM}}},
		{"M, entered elsewhere", "cortex-m4", memory, 0x9000, []Patch{{offset + 0x20, quietM}}},
		{"M, nothing is in the file", "cortex-m4", nil, at + 0x80, nil},
		{"M, a part is in the file", "cortex-m4", nil, at + 0x3c, nil},
		{"M, up to the end of the file", "cortex-m4", nil, at + 0x3a, []Patch{{offset + 0x3a, quietM}}},
		{"R", "cortex-r5f", nil, at + 0x20, []Patch{{offset + 0x20, quietA}}},
		{"R, Thumb", "cortex-r5f", nil, at + 0x21, []Patch{{offset + 0x20, quietT}}},
		{"another", "cortex-a7", nil, at, nil},
	} {
		f := &File{Entry: c.entry, Segments: segments}
		got := f.Quiet(bytes.NewReader(file), board.Core{MCU: c.mcu, Memory: c.memory})
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
