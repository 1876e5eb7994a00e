package lab

import (
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestExpectGoesOnBehindTheLastMatch(t *testing.T) {
	c := newConsole(io.Discard, nil)
	io.WriteString(c, "boot: one\nboot: two\n")
	boot := regexp.MustCompile(`boot: (\w+)`)
	for _, want := range []string{"one", "two"} {
		m, err := c.Expect(t.Context(), boot)
		if err != nil || m[1] != want {
			t.Fatalf("Expect = %q, %v, want group %q", m, err, want)
		}
	}
}

// iPXE erases its "Press Ctrl-B" and writes its prompt in the same place, perhaps
// before anybody has looked again.
func TestExpectFindsWhatReplacedTheLastMatch(t *testing.T) {
	c := newConsole(io.Discard, nil)
	io.WriteString(c, "Press Ctrl-B for the command line")
	if _, err := c.Expect(t.Context(), regexp.MustCompile(`Press Ctrl-B for`)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, strings.Repeat("\b", 33)+"iPXE> "+strings.Repeat(" ", 40))
	c.end()
	if _, err := c.Expect(t.Context(), regexp.MustCompile(`iPXE> `)); err != nil {
		t.Error(err)
	}
}

func TestExpectWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(io.Discard, nil)
		go func() {
			io.WriteString(c, "Command li")
			time.Sleep(time.Hour) // of the bubble's clock: passes at once
			io.WriteString(c, "ne: quiet\n")
		}()
		m, err := c.Expect(t.Context(), regexp.MustCompile(`Command line: (.*)\n`))
		if err != nil || m[1] != "quiet" {
			t.Fatalf("Expect = %q, %v", m, err)
		}
	})
}

func TestExpectTellsWhyItGaveUp(t *testing.T) {
	never := regexp.MustCompile("never")
	t.Run("ended", func(t *testing.T) {
		c := newConsole(io.Discard, nil)
		io.WriteString(c, "No bootable device.\n")
		c.end()
		_, err := c.Expect(t.Context(), never)
		if err == nil || !strings.Contains(err.Error(), "No bootable device.") {
			t.Errorf("error %v does not show the console", err)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newConsole(io.Discard, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := c.Expect(ctx, never)
			if err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
				t.Errorf("error %v does not say that time ran out", err)
			}
		})
	})
}

func TestConsoleIsBounded(t *testing.T) {
	c := newConsole(io.Discard, nil)
	line := strings.Repeat("x", 1023) + "\n"
	for range 2 * maxConsole / len(line) {
		io.WriteString(c, line)
	}
	io.WriteString(c, "login: ")
	if n := len(c.Text()); n > maxConsole {
		t.Errorf("holds %d bytes, more than %d", n, maxConsole)
	}
	if _, err := c.Expect(t.Context(), regexp.MustCompile("login: ")); err != nil {
		t.Error(err)
	}
}

func TestFollow(t *testing.T) {
	c := newConsole(io.Discard, nil)
	io.WriteString(c, "one\r\ntw")
	var out strings.Builder
	done := make(chan error)
	go func() { done <- c.Follow(t.Context(), &out) }()
	io.WriteString(c, "o\r\nthree")
	c.end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if want := "one\ntwo\nthree"; out.String() != want {
		t.Errorf("followed %q, want %q", out.String(), want)
	}
}
