package bridge

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hybrid-containers/hybrid/sim/mcu"
)

// stateRunning in regState is CRUN of the STM32MP1: a core that was started before
// Linux.
const stateRunning = 2

// Boot does what a boot loader does that starts the core before Linux: it loads
// firmware, says where its resource table is, and lets the core run. Linux then finds
// the core detached. It must be called before Run.
func (b *Bridge) Boot(firmware []byte) error {
	f, err := elf.NewFile(bytes.NewReader(firmware))
	if err != nil {
		return fmt.Errorf("firmware of the boot loader: %w", err)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Memsz == 0 {
			continue
		}
		at := p.Paddr - mcu.Base // below Base it wraps around, and is too large
		if at > uint64(len(b.memory)) || p.Memsz > uint64(len(b.memory))-at || p.Filesz > p.Memsz {
			return fmt.Errorf("firmware of the boot loader: segment at %#x is outside of the board's memory", p.Paddr)
		}
		segment := b.memory[at:][:p.Memsz]
		clear(segment)
		if _, err := p.ReadAt(segment[:p.Filesz], 0); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("firmware of the boot loader: %w", err)
		}
	}
	table := f.Section(".resource_table")
	if table == nil {
		return errors.New("firmware of the boot loader has no resource table, without which Linux does not attach to it")
	}
	atomic.StoreUint32(b.reg(regTable), uint32(table.Addr))
	atomic.StoreUint32(b.reg(regState), stateRunning)
	atomic.StoreUint32(b.reg(regPDDS), 0)
	return nil
}
