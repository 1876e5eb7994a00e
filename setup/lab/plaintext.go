package lab

// plainText turns what a machine writes to its serial terminal into plain lines:
// firmware paints with escape sequences (ECMA-48), moves the cursor about, and
// erases with backspaces. It is enough of a terminal to search in, not to look
// at.
type plainText struct {
	text  []byte
	read  int // how much of text has been read; erasing takes it back
	state escapeState
	cr    bool // a carriage return whose line feed has not come yet
}

type escapeState int

const (
	outside    escapeState = iota
	escape                 // after ESC
	controlSeq             // after ESC [, until its final byte
)

// write adds what the terminal received.
func (p *plainText) write(b []byte) {
	for _, c := range b {
		switch p.state {
		case outside:
			p.char(c)
		case escape:
			p.state = outside
			if c == '[' {
				p.state = controlSeq
			}
		case controlSeq:
			if c < 0x40 || c > 0x7e {
				continue // parameters
			}
			p.state = outside
			switch c {
			case 'H', 'f', 'J': // cursor position, erase display
				p.newline()
			}
		}
	}
}

// char adds one byte from outside of escape sequences.
func (p *plainText) char(c byte) {
	if p.cr && c != '\n' && c != '\r' {
		p.newline() // what follows would overwrite the line: keep both
	}
	p.cr = c == '\r'
	switch {
	case c == 0x1b:
		p.state = escape
	case c == '\b':
		if n := len(p.text); n > 0 && p.text[n-1] != '\n' {
			p.text = p.text[:n-1]
			p.read = min(p.read, n-1)
		}
	case c == '\n' || c == '\t' || c >= ' ':
		p.text = append(p.text, c)
	}
}

// newline begins a line unless one has just begun.
func (p *plainText) newline() {
	if n := len(p.text); n > 0 && p.text[n-1] != '\n' {
		p.text = append(p.text, '\n')
	}
}
