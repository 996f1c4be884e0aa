// Package monitor is the container's init process: it boots the processor when
// start asks, watches it, forwards the firmware's output, stops it, and exits with
// the container's exit code. The engine that runs the container waits for it as for
// any init, so exit codes, logs and statistics are the engine's own.
//
// It is small: one goroutine decides, three wait (for the kernel's log, for start,
// for the trace buffers), and when nothing happens it wakes once a second.
package monitor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime/claim"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// Times between two looks at the processor's state: seldom where the kernel's log
// wakes us, often where it may not be read.
const (
	lookWithLog    = time.Second
	lookWithoutLog = 100 * time.Millisecond
)

// Times that the monitor waits for the kernel's words on a crash, and for the next of
// them: they were logged before the state changed.
const (
	logTimeout  = 200 * time.Millisecond
	lineTimeout = 2 * time.Millisecond
)

// Main is the monitor process; it returns the exit code.
func Main() int {
	// top and the kernel's log call a process by this, and it was started as "exe"
	_ = os.WriteFile("/proc/self/comm", []byte(Argv0), 0)
	// these would end the process, or stop it in the middle of something
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTTIN, unix.SIGTTOU, unix.SIGTSTP)
	requests := make(chan os.Signal, 4)
	signal.Notify(requests, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, KillSignal)

	m, code := begin(requests)
	if m == nil {
		return code
	}
	exit := m.finish(m.live())
	if exit.Code == ExitKilled {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL) // our parent shall see the signal
	}
	return exit.Code
}

// finish gives the processor back and records the exit. Only then is a start that
// failed answered: who hears of it finds a stopped container.
func (m *monitor) finish(exit Exit) Exit {
	if m.device != nil && m.processor.Stop() == nil {
		_ = m.device.ShutdownOnRelease(false) // it is the core's, and would outlive us
	}
	if err := m.claim.Release(); err != nil {
		m.console.say(fmt.Sprintf("cannot put %s back: %v", m.processor, err))
		if exit.Code == ExitStopped {
			exit = Exit{Code: ExitNotBooted, Reason: err.Error()}
		}
	}
	_ = os.Remove(filepath.Join(m.config.Dir, StartSocket)) // nobody answers there any more
	exit.Time = time.Now()
	if err := WriteExit(m.config.Dir, exit); err != nil {
		m.console.say(fmt.Sprintf("cannot record the exit code: %v", err))
	}
	if m.refused != nil {
		fmt.Fprintln(m.refused, exit.Reason)
		m.refused.Close()
	}
	return exit
}

type monitor struct {
	config    Config
	processor *remoteproc.Processor
	claim     *claim.Claim
	starts    *os.File
	console   *console
	requests  <-chan os.Signal
	device    *remoteproc.Device // keeps shutdown-on-release alive
	state     *remoteproc.Watch
	heard     []string        // the kernel's last lines
	refused   *os.File        // who asked for a start that failed
	log       *remoteproc.Log // the kernel's, since before create was told that we are ready; nil where it may not be read
}

// begin takes over from create. Without a monitor the int is the exit code.
func begin(requests <-chan os.Signal) (*monitor, int) {
	handshake := os.NewFile(HandshakeFD, "handshake")
	defer handshake.Close()
	m := &monitor{requests: requests}
	in := bufio.NewReader(handshake)
	err := m.inherit(in)
	if err != nil {
		fmt.Fprintf(handshake, "monitor: %v\n", err)
		return nil, ExitNotBooted
	}
	if err := m.prepare(); err != nil {
		_ = m.claim.Release() // the next command tries again, and says why
		fmt.Fprintf(handshake, "%s: %v\n", m.processor, err)
		return nil, ExitNotBooted
	}
	if _, err := io.WriteString(handshake, Ready); err == nil {
		if line, _ := in.ReadString('\n'); line == Commit {
			return m, 0
		}
	}
	// create died, or could not make the container visible
	if err := m.claim.Release(); err != nil {
		fmt.Fprintf(os.Stderr, "hybrid: cannot put %s back: %v\n", m.processor, err)
	}
	return nil, ExitNotBooted
}

// inherit takes over what create opened.
func (m *monitor) inherit(in *bufio.Reader) error {
	for _, fd := range []int{ClaimFD, HandshakeFD, StartFD} {
		unix.CloseOnExec(fd)
	}
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("no configuration: %w", err)
	}
	if err := json.Unmarshal(line, &m.config); err != nil {
		return err
	}
	host := remoteproc.Host{Root: m.config.Sysroot}
	if m.processor, err = host.Processor(m.config.Processor); err != nil {
		return err
	}
	if m.claim, err = claim.NewStore(host).Inherit(m.processor, os.NewFile(ClaimFD, "claim")); err != nil {
		return err
	}
	m.starts = os.NewFile(StartFD, "start")
	m.console = newConsole(m.config, m.processor)
	return nil
}

// live waits for start and then for the end.
func (m *monitor) live() Exit {
	conns := make(chan *os.File)
	done := make(chan struct{})
	defer close(done)
	go accept(m.starts, conns, done)
	trim()
	select {
	case s := <-m.requests:
		return exitOn(s)
	case c := <-conns:
		if err := m.boot(); err != nil {
			m.refused = c
			m.console.say(err.Error())
			return Exit{Code: ExitNotBooted, Reason: err.Error()}
		}
		go refuse(conns, done) // others who asked at the same time
		// the socket goes first: who is told that it runs must find it running
		_ = os.Remove(filepath.Join(m.config.Dir, StartSocket))
		_, _ = io.WriteString(c, StartDone)
		c.Close()
		return m.watch()
	}
}

// exitOn is the exit that a signal asks for.
func exitOn(s os.Signal) Exit {
	if s == KillSignal {
		return Exit{Code: ExitKilled, Reason: "killed"}
	}
	return Exit{Code: ExitStopped, Reason: "stopped on request"}
}

// accept passes on the connections that ask for a start. It ends with the process:
// nothing wakes an accept(2) that waits.
func accept(listener *os.File, conns chan<- *os.File, done <-chan struct{}) {
	for {
		c, err := acceptStart(listener)
		if err != nil {
			return
		}
		select {
		case conns <- c:
		case <-done:
			c.Close()
			return
		}
	}
}

// refuse answers those who ask for a start once there was one.
func refuse(conns <-chan *os.File, done <-chan struct{}) {
	for {
		select {
		case c := <-conns:
			fmt.Fprintln(c, "it is running already")
			c.Close()
		case <-done:
			return
		}
	}
}

// prepare does what a start needs and can be done before it: who asks for a start
// waits for the core.
func (m *monitor) prepare() (err error) {
	host := remoteproc.Host{Root: m.config.Sysroot}
	if log, err := host.Log(m.processor); err == nil {
		m.log = log
	}
	if m.state, err = m.processor.Watch(); err != nil {
		return err
	}
	return m.claim.Configure(m.config.Coredump != "")
}

// boot starts the firmware. The error has the kernel's own words.
func (m *monitor) boot() error {
	if m.log != nil {
		m.log.Skip()
	}
	err := m.state.Start()
	if err == nil {
		m.shutdownOnDeath()
		return nil
	}
	var lines []string
	if m.log != nil {
		lines = reasons(m.log.Drain(32))
	}
	if len(lines) == 0 {
		return fmt.Errorf("%s does not boot: %w", m.processor, err)
	}
	return fmt.Errorf("%s does not boot: %w: the kernel says: %s", m.processor, err, strings.Join(lines, "; "))
}

// reasons are the kernel's lines without what it says of every start.
func reasons(lines []string) []string {
	var r []string
	for _, l := range lines {
		if _, text, found := strings.Cut(l, ": "); found && strings.HasPrefix(l, "remoteproc ") {
			l = text
		}
		if !strings.HasPrefix(l, "powering up") && !strings.HasPrefix(l, "Booting fw image") {
			r = append(r, l)
		}
	}
	return r
}

// shutdownOnDeath lets the kernel stop the core when this process is killed, where
// it can. Elsewhere the next command of the runtime does it.
func (m *monitor) shutdownOnDeath() {
	d, err := m.processor.Device()
	if err != nil {
		return
	}
	if err := d.ShutdownOnRelease(true); err != nil {
		_ = d.Close()
		return
	}
	m.device = d
}

// watch forwards the firmware's output until it ends.
func (m *monitor) watch() Exit {
	go m.console.run()
	defer m.console.close()
	exit := m.wait()
	m.console.flush() // before the processor is stopped, which takes the trace buffers away
	if exit.Code == ExitCrashed || exit.Code == ExitTaken {
		m.console.say(exit.Reason)
		for _, line := range m.heard {
			m.console.say("the kernel: " + line)
		}
	}
	if state, err := m.state.State(); err == nil && state == remoteproc.Crashed && m.config.Coredump != "" {
		// the kernel starts the core once more for it, but not the container
		exit.Time = time.Now()
		if err := WriteExit(m.config.Dir, exit); err != nil {
			m.console.say(fmt.Sprintf("cannot record the exit code: %v", err))
		}
		m.saveDump()
	}
	return exit
}

// wait waits until the firmware ends: on request, by a crash, or by somebody else.
func (m *monitor) wait() Exit {
	lines := make(chan string)
	look := lookWithoutLog
	if m.log != nil {
		look = lookWithLog
		done := make(chan struct{})
		defer close(done)
		defer m.log.Close()
		go follow(m.log, lines, done)
	}
	if m.config.Heartbeat > 0 {
		look = min(look, m.config.Heartbeat/4)
	}
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	looked := time.Now()
	settled := time.After(time.Second)
	said := ""
	for {
		state, err := m.state.State()
		switch {
		case err != nil && !errors.Is(err, syscall.EINTR):
			return m.gone(err)
		case err == nil && state == remoteproc.Crashed:
			for timeout := time.After(logTimeout); said == "" && m.log != nil; {
				select {
				case line := <-lines: // logged before the state changed
					said = m.hear(line)
				case <-timeout:
					said = ": the kernel's log does not say why"
				}
			}
			for more := m.log != nil; more; {
				select {
				case line := <-lines:
					m.hear(line)
				case <-time.After(lineTimeout):
					more = false
				}
			}
			return Exit{Code: ExitCrashed, Reason: "the firmware crashed" + said}
		case err == nil && (!state.Up() || state == remoteproc.Detached):
			return Exit{Code: ExitTaken, Reason: fmt.Sprintf("%s was stopped by somebody else: it is %s", m.processor, state)}
		}
		select {
		case s := <-m.requests:
			return exitOn(s)
		case line := <-lines:
			if reason := m.hear(line); reason != "" {
				said = reason
			}
		case <-settled:
			trim()
		case <-ticker.C:
			if m.config.Heartbeat > 0 && m.console.silence() > m.config.Heartbeat {
				return Exit{Code: ExitCrashed, Reason: fmt.Sprintf("the firmware hangs: no output for %v", m.config.Heartbeat)}
			}
			if time.Since(looked) >= min(lookWithLog, look*10) || m.config.Heartbeat > 0 {
				m.console.look()
				looked = time.Now()
			}
		}
	}
}

// maxHeard is how many lines of the kernel are kept for the container's log.
const maxHeard = 8

// hear keeps a line of the kernel's log, of those since the core is up, and returns
// what it adds to the reason of a crash.
func (m *monitor) hear(line string) (reason string) {
	if reason = crashReason(line); reason != "" {
		return reason
	}
	if strings.HasSuffix(line, " is now up") {
		m.heard = nil
		return ""
	}
	m.heard = append(m.heard[max(len(m.heard)-maxHeard+1, 0):], reasons([]string{line})...)
	return ""
}

// crashReason is what a line of the kernel's log adds to the reason of a crash.
func crashReason(line string) string {
	if !strings.Contains(line, "crash detected") {
		return ""
	}
	return ": " + strings.Join(reasons([]string{line}), "")
}

func (m *monitor) gone(err error) Exit {
	return Exit{Code: ExitTaken, Reason: fmt.Sprintf("%s is gone: %v", m.processor, err)}
}

func follow(log *remoteproc.Log, lines chan<- string, done <-chan struct{}) {
	for {
		line, err := log.Next()
		if err != nil {
			return
		}
		select {
		case lines <- line:
		case <-done:
			return
		}
	}
}
