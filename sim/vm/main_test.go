package vm

import (
	"fmt"
	"os"
	"testing"

	"github.com/hybrid-containers/hybrid/sim/vm/guest"
	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

// children are what the test binary becomes when it is started with roleVariable.
var children = map[string]func() error{"guest": serveGuest}

const roleVariable = "HYBRID_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := children[role](); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	for _, f := range atEnd {
		f()
	}
	os.Exit(code)
}

// atEnd is what tests share and clean up when all are done.
var atEnd []func()

// serveGuest is the guest without a board: its connection is descriptor 3.
func serveGuest() error {
	reaper := guest.NewReaper()
	defer reaper.Close()
	s := &guest.Server{
		Mount: func(g wire.Greeting) error {
			if len(g.Shares) > 0 {
				return fmt.Errorf("mounting %s: no such device", g.Shares[0].Dir)
			}
			return nil
		},
		Flush: func() {},
	}
	return s.Serve(os.NewFile(3, "connection"), reaper)
}
