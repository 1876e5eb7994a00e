package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"farmboot/provisioning/human"
)

// progress shows on a terminal how far something has come; elsewhere it shows nothing.
type progress struct {
	w    io.Writer
	now  func() time.Time
	on   bool
	next time.Time
}

const progressEvery = 200 * time.Millisecond

func newProgress(w io.Writer, now func() time.Time) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, now: now, on: ok && term.IsTerminal(int(f.Fd()))}
}

// show shows how much of how much of what is there; size -1: the size is not known.
func (p *progress) show(what string, got, size int64) {
	if !p.on || p.now().Before(p.next) {
		return
	}
	p.next = p.now().Add(progressEvery)
	if size <= 0 {
		fmt.Fprintf(p.w, "\r\x1b[K%s %s", what, human.Bytes(got))
		return
	}
	const width = 30
	full := int(width * got / size)
	fmt.Fprintf(p.w, "\r\x1b[K%s [%-*s] %3d %% of %s", what, width, bar[:full], 100*got/size, human.Bytes(size))
}

const bar = "##############################"

// say shows in one line what is done now.
func (p *progress) say(what string) {
	if p.on {
		fmt.Fprintf(p.w, "\r\x1b[K%s …", what)
	}
}

// end removes the bar, or the line.
func (p *progress) end() {
	if p.on {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// of counts what is written to it as a part of size.
func (p *progress) of(size int64) io.Writer { return &counted{p: p, size: size} }

type counted struct {
	p         *progress
	got, size int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.got += int64(len(b))
	c.p.show("", c.got, c.size)
	return len(b), nil
}
