package lab

import "testing"

func TestPlainText(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"lines", "a\r\nb\n", "a\nb\n"},
		{"colours", "\x1b[0;1miPXE\x1b[0m ok\r\n", "iPXE ok\n"},
		{"reset and modes", "\x1bc\x1b[?7lSeaBIOS\r\n", "SeaBIOS\n"},
		{"cursor position begins a line", "Press ESC\x1b[11;01HPress any key", "Press ESC\nPress any key"},
		{"but not a second one", "a\n\x1b[2J\x1b[01;01Hb", "a\nb"},
		{"backspaces erase", "10%\b\b\b\b 20%", "10% 20%"[3:]},
		{"up to the line's start", "a\nb\b\b\b\bc", "a\nc"},
		{"a carriage return alone keeps both", "50%\r100%\r\n", "50%\n100%\n"},
		{"carriage returns before a line feed", "a\r\r\nb", "a\nb"},
		{"other control characters", "a\x00\x07b\tc", "ab\tc"},
		{"UTF-8", "Größe\n", "Größe\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for size := 1; size <= len(c.in); size++ {
				var p plainText
				for i := 0; i < len(c.in); i += size {
					p.write([]byte(c.in[i:min(i+size, len(c.in))]))
				}
				if got := string(p.text); got != c.want {
					t.Fatalf("in pieces of %d: %q, want %q", size, got, c.want)
				}
			}
		})
	}
}

func FuzzPlainText(f *testing.F) {
	f.Add([]byte("\x1b[0;1miPXE\x1b[0m\r\n\b\x1b"))
	f.Add([]byte("\x1b[11;01HPress\rany\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var whole, pieces plainText
		whole.write(b)
		for i := range b {
			pieces.write(b[i : i+1])
		}
		if string(whole.text) != string(pieces.text) {
			t.Errorf("%q whole, %q in pieces", whole.text, pieces.text)
		}
		for _, c := range whole.text {
			if c < ' ' && c != '\n' && c != '\t' {
				t.Errorf("control character %#x in %q", c, whole.text)
			}
		}
	})
}
