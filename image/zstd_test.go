package image

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// zstdOf compresses with the encoder that BuildKit and containerd use.
func zstdOf(t testing.TB, b []byte, options ...zstd.EOption) []byte {
	t.Helper()
	var z bytes.Buffer
	w, err := zstd.NewWriter(&z, options...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

// skippable is a frame that decoders skip, as zstd:chunked has them.
func skippable(n int) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{0x50, 0x2a, 0x4d, 0x18}, uint32(n)), make([]byte, n)...)
}

// far is content whose end repeats its beginning, distance bytes before.
func far(distance int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, distance, 2*distance)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return append(b, b...)
}

func TestUnzstd(t *testing.T) {
	text := []byte(strings.Repeat("firmware for a remote processor; ", 100_000))
	damaged := zstdOf(t, text)
	damaged[len(damaged)-1] ^= 1 // of the checksum
	for name, c := range map[string]struct {
		packed, want []byte
		err          string
	}{
		"stream":          {zstdOf(t, text), text, ""},
		"best":            {zstdOf(t, text, zstd.WithEncoderLevel(zstd.SpeedBestCompression)), text, ""},
		"without sum":     {zstdOf(t, text, zstd.WithEncoderCRC(false)), text, ""},
		"several frames":  {append(zstdOf(t, text), zstdOf(t, text[:100])...), append(bytes.Clone(text), text[:100]...), ""},
		"frames to skip":  {append(append(skippable(10), zstdOf(t, text)...), skippable(100_000)...), text, ""},
		"empty":           {zstdOf(t, nil, zstd.WithZeroFrames(true)), nil, ""},
		"window of 8 MiB": {zstdOf(t, far(6<<20), zstd.WithWindowSize(8<<20)), far(6 << 20), ""},
		"window too large": {
			zstdOf(t, far(12<<20), zstd.WithWindowSize(32<<20), zstd.WithEncoderLevel(zstd.SpeedBestCompression)), nil,
			"zstd",
		},
		"damaged":   {damaged, nil, "checksum"},
		"cut short": {zstdOf(t, text)[:100], nil, "EOF"},
		"other":     {[]byte("text, and not zstd"), nil, "magic"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := unzstd(bytes.NewReader(c.packed))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%d bytes, error %v, want %q", len(got), err, c.err)
				}
				return
			}
			if err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%d bytes, %v, want %d", len(got), err, len(c.want))
			}
		})
	}
}
