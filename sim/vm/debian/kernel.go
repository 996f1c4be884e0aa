package debian

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ramStart is where the memory of QEMU's virt machine starts.
const ramStart = 0x40000000

// uncompressKernel turns a compressed kernel into a U-Boot image of the kernel
// itself. Emulated, the kernel takes longer to uncompress itself than to boot; done
// here once that is saved at every boot. QEMU puts a U-Boot image where its header
// says, which an uncompressed kernel, unlike the compressed, insists on.
func uncompressKernel(ctx context.Context, zImage, config, out string) error {
	compressed, err := os.ReadFile(zImage)
	if err != nil {
		return err
	}
	options, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	kernel, err := payload(ctx, compressed)
	if err != nil {
		return err
	}
	return os.WriteFile(out, uImage(kernel, ramStart+textOffset(string(options))), 0o644)
}

// payload finds and uncompresses the kernel in a compressed kernel.
func payload(ctx context.Context, zImage []byte) ([]byte, error) {
	at := bytes.LastIndex(zImage, []byte("\xfd7zXZ\x00")) // the code in front knows the magic, too
	if at < 0 {
		return nil, errors.New("the kernel is not compressed with xz")
	}
	kernel, err := unxz(ctx, zImage[at:])
	if err != nil {
		return nil, fmt.Errorf("uncompressing the kernel: %w", err)
	}
	return kernel, nil
}

// unxz uncompresses what b starts with. The program is needed for the ARM filter of xz,
// which no library in Go has.
func unxz(ctx context.Context, b []byte) ([]byte, error) {
	if _, err := exec.LookPath("xz"); err != nil {
		return nil, errors.New("xz is not installed (apt-get install xz-utils)")
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "xz", "--decompress", "--stdout", "--single-stream")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(b), &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil && stdout.Len() == 0 {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// textOffset is how far from the start of memory a kernel with this configuration
// must be: arch/arm/Makefile, textofs-y, where the last one that is set counts.
func textOffset(config string) uint32 {
	offset := uint32(0x8000)
	for _, o := range []struct {
		option string
		offset uint32
	}{
		{"CONFIG_PM_H1940", 0x108000},
		{"CONFIG_ARCH_REALTEK", 0x108000},
		{"CONFIG_ARCH_MESON", 0x208000},
		{"CONFIG_ARCH_AXXIA", 0x308000},
	} {
		if strings.Contains("\n"+config, "\n"+o.option+"=y\n") {
			offset = o.offset
		}
	}
	return offset
}

// uImage puts the header of a U-Boot image in front of a kernel: include/image.h of
// U-Boot, struct legacy_img_hdr.
func uImage(kernel []byte, load uint32) []byte {
	const (
		magic      = 0x27051956
		osLinux    = 5
		archArm    = 2
		typeKernel = 2
		headerSize = 64
	)
	header := make([]byte, headerSize)
	for i, word := range []uint32{magic, 0, 0, uint32(len(kernel)), load, load, crc32.ChecksumIEEE(kernel)} {
		binary.BigEndian.PutUint32(header[4*i:], word)
	}
	header[28], header[29], header[30], header[31] = osLinux, archArm, typeKernel, 0
	copy(header[32:], "Linux")
	binary.BigEndian.PutUint32(header[4:], crc32.ChecksumIEEE(header))
	return append(header, kernel...)
}
