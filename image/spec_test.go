package image

import (
	"crypto/sha512"
	"fmt"
	"strings"
	"testing"
)

func TestDigest(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for digest, want := range map[string]string{
		"sha256:" + hex:                  "blobs/sha256/" + hex,
		"sha512:" + hex + hex:            "blobs/sha512/" + hex + hex,
		"sha512:" + hex:                  "is not sha512: and 128 hexadecimal digits",
		"sha256:" + strings.ToUpper(hex): "is not sha256: and 64 hexadecimal digits",
		"sha256:../" + hex[3:]:           "is not sha256: and 64 hexadecimal digits",
		"sha256:" + hex + "\n":           "is not sha256: and 64 hexadecimal digits",
		"sha384:" + hex:                  "is neither sha256 nor sha512",
		"../..:" + hex:                   "is neither sha256 nor sha512",
		hex:                              "is neither sha256 nor sha512",
		"":                               "is neither sha256 nor sha512",
	} {
		got, _, err := blobPath(Digest(digest))
		if err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(got, want) {
			t.Errorf("%q: %s, want %s", digest, got, want)
		}
	}
}

func TestDigestMatches(t *testing.T) {
	content := []byte("firmware")
	d := Digest(fmt.Sprintf("sha512:%x", sha512.Sum512(content)))
	for text, want := range map[string]bool{"firmware": true, "malwares": false} {
		_, _, sum, err := d.parse()
		if err != nil {
			t.Fatal(err)
		}
		sum.Write([]byte(text))
		if d.matches(sum) != want {
			t.Errorf("%s matches: %v", text, !want)
		}
	}
}
