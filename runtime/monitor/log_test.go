package monitor

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func at() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC) }

// Whatever is written, in pieces of any size, two files hold the latest of it, and a
// reader that puts the entries together has it again.
func TestLogFile(t *testing.T) {
	for _, piece := range []int{1, 1000, maxEntry, maxEntry + 1, maxLog, 2*maxLog + 7} {
		dir := t.TempDir()
		l := &logFile{dir: dir, now: at}
		var all []byte
		for n := 0; len(all) < 3*maxLog; n++ {
			text := bytes.Repeat([]byte{'a' + byte(n%26)}, piece)
			if n%3 == 0 {
				text[len(text)/2] = '\n'
			}
			all = append(all, text...)
			l.write(Stdout, text)
		}
		l.file.Close()
		var kept []byte
		for _, name := range []string{ConsoleOldLog, ConsoleLog} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || len(b) > maxLog {
				t.Errorf("pieces of %d: %s has %d bytes, %v", piece, name, len(b), err)
			}
			for _, entry := range strings.SplitAfter(string(b), "\n") {
				if entry == "" {
					continue
				}
				text, full := strings.CutPrefix(entry, "2026-01-02T03:04:05.000000006Z stdout F ")
				text, partial := strings.CutPrefix(text, "2026-01-02T03:04:05.000000006Z stdout P ")
				if full == partial {
					t.Fatalf("pieces of %d: entry %.80q", piece, entry)
				}
				if partial {
					text = strings.TrimSuffix(text, "\n")
				}
				kept = append(kept, text...)
			}
		}
		least := maxLog - maxEntry
		if piece == 1 {
			least = maxLog / 60 // an entry for each byte
		}
		if len(kept) < least || !bytes.HasSuffix(all, kept) {
			t.Errorf("pieces of %d: %d bytes are kept, and they are not the latest", piece, len(kept))
		}
	}
	(&logFile{dir: filepath.Join(t.TempDir(), "gone"), now: at}).write(Stdout, []byte("lost, and nothing else"))
}
