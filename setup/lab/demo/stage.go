package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"farmboot/setup/lab"
)

// speaker is who a line comes from, and its colour (ECMA-48).
type speaker struct{ name, colour string }

var (
	node      = speaker{"node", ""}
	server    = speaker{"DHCP server", "33"} // yellow
	appliance = speaker{"appliance", "32"}   // green
)

// stage is where all speak, one line at a time.
type stage struct {
	mu      sync.Mutex
	out     io.Writer
	colours bool
	start   time.Time
}

func newStage(out io.Writer) *stage {
	f, isFile := out.(*os.File)
	return &stage{
		out:     out,
		colours: isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "",
		start:   time.Now(),
	}
}

func (s *stage) line(colour, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.colours && colour != "" {
		text = "\x1b[" + colour + "m" + text + "\x1b[0m"
	}
	fmt.Fprintln(s.out, text)
}

// tell explains.
func (s *stage) tell(format string, args ...any) {
	s.line("1", "# "+fmt.Sprintf(format, args...))
}

// command shows a command as if it had been typed.
func (s *stage) command(words ...string) { s.line("1", "$ "+strings.Join(words, " ")) }

// say is a line of one of the speakers, with the time.
func (s *stage) say(who speaker, format string, args ...any) {
	at := time.Since(s.start).Seconds()
	s.line(who.colour, fmt.Sprintf("%5.1fs %11s | %s", at, who.name, fmt.Sprintf(format, args...)))
}

// plain returns a writer for a command's own output; flush it in the end.
func (s *stage) plain() *lines {
	return &lines{each: func(line string) { s.line("", line) }}
}

// watch shows what everybody says until the node's kernel has said which command
// line it was given.
func (s *stage) watch(ctx context.Context, dhcp, daemon, console *lab.Console) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	shown := make(chan struct{}) // closed when the kernel has spoken
	var once sync.Once
	var g errgroup.Group
	g.Go(func() error {
		return dhcp.Follow(ctx, &lines{each: func(line string) { s.narrate(server, serverSays, line) }})
	})
	g.Go(func() error {
		return daemon.Follow(ctx, &lines{each: func(line string) { s.narrate(appliance, applianceSays, line) }})
	})
	g.Go(func() error {
		return console.Follow(ctx, &lines{each: func(line string) {
			select {
			case <-shown:
				return // the rest of the kernel's log is of no interest here
			default:
			}
			if strings.TrimSpace(line) != "" {
				s.say(node, "%s", line)
			}
			if strings.Contains(line, "Command line: ") {
				once.Do(func() { close(shown) })
			}
		}})
	})
	g.Go(func() error {
		defer done()
		select {
		case <-shown:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	return g.Wait()
}

// rule turns a line of a log into words.
type rule struct {
	line  *regexp.Regexp
	words string // with the line's groups as $1, $2, …
}

var serverSays = []rule{
	{regexp.MustCompile(`DHCPACK\(\S+\) (\S+)`), "gives it the address $1; what it boots is not my business"},
}

// applianceSays knows the lines that package provisioning's Recorder writes for each
// step of a boot, the DISCOVER among them with debug = true.
var applianceSays = []rule{
	{regexp.MustCompile(`stage=discover .*detail="([^"]*)"`), "a machine asks the LAN what to boot ($1)"},
	{regexp.MustCompile(`stage=offer .*detail=(\S+)`), "I offer it $1, beside the DHCP server's address (proxyDHCP)"},
	{regexp.MustCompile(`stage=bootserver .*detail=(\S+)`), "it has an address now and asks me for its boot file (port 4011): $1"},
	{regexp.MustCompile(`stage=nbp .*detail="(\S+) by TFTP" bytes=(\d+) .*dur=(\d+)[.\d]*(\w+)`), "sent $1, iPXE with my boot script inside, by TFTP: $2 bytes in $3 $4"},
	{regexp.MustCompile(`stage=script .*detail="([^"]*)"`), "it asks what it boots, by its MAC address: I answer with its boot script ($1)"},
	{regexp.MustCompile(`stage=kernel .*detail=(\S+) bytes=(\d+) .*dur=(\d+)[.\d]*(\w+)`), "sent the kernel $1: $2 bytes in $3 $4. The rest is up to the node"},
}

// narrate says a line of a log in words, if there is a rule for it.
func (s *stage) narrate(who speaker, rules []rule, line string) {
	for _, r := range rules {
		if at := r.line.FindStringSubmatchIndex(line); at != nil {
			s.say(who, "%s", r.line.ExpandString(nil, r.words, line, at))
		}
	}
}

// lines calls a function for each line that is written to it, be it in pieces.
type lines struct {
	each func(string)
	rest []byte // of a line that has not ended
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ended := bytes.Cut(l.rest, []byte("\n"))
		if !ended {
			return len(p), nil
		}
		l.rest = rest
		l.each(strings.TrimRight(string(line), "\r"))
	}
}

// flush ends the last line, where its writer has not.
func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.each(string(l.rest))
		l.rest = nil
	}
}
