package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := w.Send(Hello, 0, Greeting{Shares: []Share{{Tag: "s0", Dir: "/x", ReadOnly: true}}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(Stdout, 7, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	if err := w.Send(Ready, 0, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Read(&b)
	var g Greeting
	if err != nil || f.Type != Hello || f.Decode(&g) != nil || len(g.Shares) != 1 || !g.Shares[0].ReadOnly {
		t.Fatalf("hello: %+v, %v", f, err)
	}
	f, err = Read(&b)
	if err != nil || f.Type != Stdout || f.ID != 7 || string(f.Payload) != "hi" {
		t.Fatalf("stdout: %+v, %v", f, err)
	}
	f, err = Read(&b)
	if err != nil || f.Type != Ready || len(f.Payload) != 0 {
		t.Fatalf("ready: %+v, %v", f, err)
	}
	if _, err = Read(&b); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	header := func(typ, reserved byte, size ...byte) string {
		return string([]byte{typ, reserved, 0, 0, 1, 0, 0, 0, size[0], size[1], size[2], size[3]})
	}
	for name, test := range map[string]struct {
		in   string
		want error
	}{
		"no type":       {header(0, 0, 0, 0, 0, 0), ErrFrame},
		"unknown type":  {header(byte(Quit)+1, 0, 0, 0, 0, 0), ErrFrame},
		"reserved":      {header(byte(Ready), 1, 0, 0, 0, 0), ErrFrame},
		"too long":      {header(byte(Stdout), 0, 1, 0, 1, 0), ErrFrame},
		"short header":  {"\x01\x00", io.ErrUnexpectedEOF},
		"no payload":    {header(byte(Stdout), 0, 4, 0, 0, 0), io.ErrUnexpectedEOF},
		"short payload": {header(byte(Stdout), 0, 4, 0, 0, 0) + "abc", io.ErrUnexpectedEOF},
	} {
		if _, err := Read(strings.NewReader(test.in)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if err := NewWriter(io.Discard).Write(Stdout, 1, make([]byte, MaxPayload+1)); !errors.Is(err, ErrFrame) {
		t.Errorf("writing too much: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	w := NewWriter(&b)
	_ = w.Send(Start, 1, Command{Args: []string{"true"}})
	_ = w.Write(Stdin, 1, []byte("x"))
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			before := r.Len()
			frame, err := Read(r)
			if err != nil {
				return
			}
			var out bytes.Buffer
			if err := NewWriter(&out).Write(frame.Type, frame.ID, frame.Payload); err != nil {
				t.Fatal(err)
			}
			if at := len(in) - before; !bytes.Equal(out.Bytes(), in[at:at+out.Len()]) {
				t.Fatalf("frame %+v does not write back as it was read", frame)
			}
			var c Command
			_ = frame.Decode(&c)
		}
	})
}

func TestOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOutbox()
		if n := o.Reserve(Window - 10); n != Window-10 {
			t.Fatalf("reserved %d", n)
		}
		if n := o.Reserve(100); n != 10 {
			t.Fatalf("reserved %d of the last 10", n)
		}
		got := make(chan int)
		go func() { got <- o.Reserve(100) }()
		synctest.Wait()
		select {
		case n := <-got:
			t.Fatalf("reserved %d without credit", n)
		default:
		}
		o.Grant(-5)
		o.Grant(30)
		if n := <-got; n != 30 {
			t.Fatalf("reserved %d of 30", n)
		}
		o.Grant(1 << 40)
		o.Grant(1 << 40)
		if n := o.Reserve(1 << 50); n != Window {
			t.Fatalf("reserved %d after too much credit", n)
		}
		go func() { got <- o.Reserve(1) }()
		synctest.Wait()
		o.Close()
		if n := <-got; n != 0 {
			t.Fatalf("reserved %d after close", n)
		}
	})
}

type failingWriter struct{ writes int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.writes++; w.writes > 1 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestInbox(t *testing.T) {
	i := NewInbox()
	var wg sync.WaitGroup
	var b bytes.Buffer
	consumed := 0
	wg.Go(func() {
		if err := i.Copy(&b, func(n int) { consumed += n }); err != nil {
			t.Error(err)
		}
	})
	i.Put([]byte("ab"))
	i.Put([]byte("c"))
	i.Close()
	i.Put([]byte("late"))
	wg.Wait()
	if b.String() != "abc" || consumed != 3 {
		t.Errorf("copied %q, consumed %d", b.String(), consumed)
	}

	i, consumed = NewInbox(), 0
	for range 3 {
		i.Put([]byte("x"))
	}
	i.Close()
	w := &failingWriter{}
	if err := i.Copy(w, func(n int) { consumed += n }); !errors.Is(err, io.ErrClosedPipe) || consumed != 3 || w.writes != 2 {
		t.Errorf("a writer that fails: %v, %d consumed, %d writes", err, consumed, w.writes)
	}
}
