package lab

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

// maxConsole bounds the text, in bytes, that a Console holds to be searched; the
// log on disk has all of it.
const maxConsole = 4 << 20

// Console is what a machine or a program writes, to be waited for, and where it
// can be typed to. Its methods may be called from several goroutines.
type Console struct {
	log io.Writer // gets all of it, as it came
	in  io.Writer // nil: nothing reads

	mu      sync.Mutex
	plain   plainText
	ended   bool          // nothing more will come
	changed chan struct{} // closed at the next change
}

func newConsole(log, in io.Writer) *Console {
	return &Console{log: log, in: in, changed: make(chan struct{})}
}

// Write adds output; it is for the process whose console this is.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.plain.write(p)
	if len(c.plain.text) > maxConsole {
		cut := len(c.plain.text) - maxConsole/2
		c.plain.text = c.plain.text[cut:]
		c.plain.read = max(0, c.plain.read-cut)
	}
	c.wake()
	c.mu.Unlock()
	return c.log.Write(p)
}

// end tells those who wait that nothing more will come.
func (c *Console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.wake()
}

func (c *Console) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Expect waits until the text behind the last match contains one of pattern,
// and returns the match and its groups. A pattern that captures to the end of a
// line should contain that end, \n, for output comes in pieces. The error, when
// ctx ends or the process does, shows the last lines of the console.
func (c *Console) Expect(ctx context.Context, pattern *regexp.Regexp) ([]string, error) {
	for {
		c.mu.Lock()
		rest := c.plain.text[c.plain.read:]
		if at := pattern.FindSubmatchIndex(rest); at != nil {
			match := make([]string, len(at)/2)
			for i := range match {
				if at[2*i] >= 0 {
					match[i] = string(rest[at[2*i]:at[2*i+1]])
				}
			}
			c.plain.read += at[1]
			c.mu.Unlock()
			return match, nil
		}
		ended, changed := c.ended, c.changed
		c.mu.Unlock()
		if ended {
			return nil, fmt.Errorf("console ended without %q; it ends with\n%s", pattern, c.Tail(30))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %q: %w; console ends with\n%s", pattern, context.Cause(ctx), c.Tail(30))
		}
	}
}

// Follow writes the console's text to w from its beginning, as it comes and
// without escape sequences, until the process or ctx ends.
func (c *Console) Follow(ctx context.Context, w io.Writer) error {
	from := 0
	for {
		c.mu.Lock()
		// Whole lines only: an unfinished one may yet be erased.
		line := strings.LastIndexByte(string(c.plain.text), '\n') + 1
		if c.ended {
			line = len(c.plain.text)
		}
		from = min(from, line)
		text := string(c.plain.text[from:line])
		from = line
		ended, changed := c.ended, c.changed
		c.mu.Unlock()
		if _, err := io.WriteString(w, text); err != nil || ended {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// Type sends keystrokes.
func (c *Console) Type(keys string) error {
	if c.in == nil {
		return fmt.Errorf("type %q: nothing reads this console", keys)
	}
	if _, err := io.WriteString(c.in, keys); err != nil {
		return fmt.Errorf("type %q: %w", keys, err)
	}
	return nil
}

// TypeLine types a line, each character when the one before has been echoed, for
// firmware loses what comes faster than it reads its serial port; then Enter.
func (c *Console) TypeLine(ctx context.Context, line string) error {
	for _, r := range line {
		if err := c.Type(string(r)); err != nil {
			return err
		}
		if _, err := c.Expect(ctx, regexp.MustCompile(regexp.QuoteMeta(string(r)))); err != nil {
			return fmt.Errorf("echo of %q: %w", line, err)
		}
	}
	return c.Type("\r")
}

// Text returns what was written so far, without escape sequences.
func (c *Console) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.plain.text)
}

// Tail returns the last lines of Text, empty ones left out.
func (c *Console) Tail(lines int) string {
	all := strings.FieldsFunc(c.Text(), func(r rune) bool { return r == '\n' })
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
