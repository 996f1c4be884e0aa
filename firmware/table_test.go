package firmware

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"
)

func words(w ...uint32) []byte {
	var b []byte
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func TestParseVdev(t *testing.T) {
	const rpmsg, any = 7, 0xffffffff
	// ver, num, reserved, offset; type, id, notifyid, dfeatures, gfeatures, config_len, status and vrings
	head := words(1, 1, 0, 0, 20, 3, rpmsg, 5, 1, 0, 4, 2<<8|7)
	vrings := words(any, 4096, 256, 1, 0, 0xB8008000, 16, 100, 2, 0)
	whole := append(append(bytes.Clone(head), vrings...), 0, 0, 0, 0)
	want := Vdev{
		ID: rpmsg, NotifyID: 5, Features: 1, ConfigLen: 4, Status: 7, Num: 2,
		Vrings: []Vring{{AnyAddress, 4096, 256, 1}, {0xB8008000, 16, 100, 2}},
	}
	table, err := parseTable(whole, 0x1000)
	if err != nil || len(table.Entries) != 1 || !reflect.DeepEqual(*table.Entries[0].Vdev, want) {
		t.Fatalf("%+v, %v", table.Entries[0].Vdev, err)
	}
	if table.Addr != 0x1000 || table.Len != uint64(len(whole)) || table.Entries[0].Reserved != 0 {
		t.Errorf("table %+v", table)
	}
	for cut, left := range map[int]int{1: 2, 5: 1, 30: 0} {
		table, err := parseTable(whole[:len(whole)-cut], 0)
		if err != nil || !table.Entries[0].Vdev.Short || len(table.Entries[0].Vdev.Vrings) != left {
			t.Errorf("%d bytes less: %+v, %v", cut, table, err)
		}
	}
	whole[46] = 1
	if table, err := parseTable(whole, 0); err != nil || table.Entries[0].Reserved == 0 {
		t.Errorf("reserved bytes are lost: %+v, %v", table, err)
	}
}

func TestParseCarveout(t *testing.T) {
	name := make([]byte, 32)
	copy(name, "vdev0vring0")
	b := append(words(1, 1, 0, 0, 20, 0, AnyAddress, 0x1234, 0x8000, 3, 9), name...)
	table, err := parseTable(b, 0)
	want := Resource{Type: Carveout, Name: "vdev0vring0", Addr: AnyAddress, Phys: 0x1234, Len: 0x8000, Flags: 3, Reserved: 9}
	if err != nil || len(table.Entries) != 1 || table.Entries[0] != want {
		t.Errorf("%+v, %v", table, err)
	}
}

func FuzzTable(f *testing.F) {
	f.Add(traceTable())
	f.Add(append(words(1, 1, 0, 0, 20, 3, 7, 0, 1, 0, 0, 2<<8), words(1, 16, 16, 0, 0)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := parseTable(b, 0)
		if err != nil {
			return
		}
		for _, e := range table.Entries {
			if (e.Vdev != nil) != (e.Type == VirtioDev) {
				t.Errorf("entry %+v", e)
			}
			if v := e.Vdev; v != nil && (len(v.Vrings)*20 > len(b) || (!v.Short && len(v.Vrings) != int(v.Num))) {
				t.Errorf("vdev %+v of %d bytes", v, len(b))
			}
		}
	})
}
