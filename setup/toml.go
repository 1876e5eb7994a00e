package setup

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Mistake is one thing that is wrong with a configuration file.
type Mistake struct {
	File    string
	Line    int // from 1; 0: no place in particular
	Column  int // from 1, in bytes
	Message string
}

// Error returns file:line:column: message, the form that editors jump to.
func (m Mistake) Error() string {
	if m.Line == 0 {
		return fmt.Sprintf("%s: %s", m.File, m.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Message)
}

// Mistakes are all that is wrong with a configuration file, in its order.
type Mistakes []Mistake

// Error returns the mistakes, one a line.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// setting is a key or the heading of a table as it stands in the file.
type setting struct {
	key   string // dotted: network.interface
	value any    // what the library decodes it to; nil for a heading
	table bool   // a heading
	at    unstable.Position
}

func (s setting) mistake(format string, args ...any) Mistake {
	return Mistake{Line: s.at.Line, Column: s.at.Column, Message: fmt.Sprintf(format, args...)}
}

// unread is the value of a key whose line has an error of notation.
type unread struct {
	text string // as it stands there
	why  string // what is wrong with the notation; "": text without quotes, or no number
}

// settings reads a TOML document into its settings, in order. The library's strict mode
// stops at the first wrong type and its values carry no positions; so the library decodes
// the document, and its parser then tells where each key stands. A line with an error of
// notation is left out, and what is behind it read all the same; lost tells that it is not
// known of which key such a line was.
func settings(doc []byte) (found []setting, mistakes Mistakes, lost bool) {
	d := newDocument(doc)
	values := d.decode()
	var p unstable.Parser
	text := d.text()
	p.Reset(text)
	lines := newLines(text)
	var table []string // the heading that we are under
	var add func(table []string, e *unstable.Node)
	add = func(under []string, e *unstable.Node) {
		path, isKey := slices.Clone(under), e.Kind == unstable.KeyValue
		s := setting{table: !isKey || e.Value().Kind == unstable.InlineTable}
		for it := e.Key(); it.Next(); path = append(path, string(it.Node().Data)) {
			if s.at.Line == 0 {
				s.at = lines.position(int(it.Node().Raw.Offset))
			}
		}
		if e.Kind == unstable.ArrayTable {
			path = []string{"[[" + dotted(path) + "]]"} // no table of ours is a list
		}
		s.key = dotted(path)
		if value, ok := d.unread[s.at.Line-1]; ok && isKey {
			s.value = value
		} else if !s.table {
			s.value = lookup(values, path)
		}
		found = append(found, s)
		switch {
		case !isKey:
			table = path
		case s.table:
			for it := e.Value().Children(); it.Next(); {
				add(path, it.Node())
			}
		}
	}
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			add(nil, e)
		case unstable.KeyValue:
			add(table, e)
		}
	}
	return found, d.mistakes, d.lost
}

// lines are where the lines of a text begin. The library counts them anew for each place
// that it is asked for.
type lines []int

func newLines(text []byte) lines {
	l := lines{0}
	for i, c := range text {
		if c == '\n' {
			l = append(l, i+1)
		}
	}
	return l
}

func (l lines) position(offset int) unstable.Position {
	n := sort.SearchInts(l, offset+1)
	return unstable.Position{Offset: offset, Line: n, Column: offset - l[n-1] + 1}
}

// document is a TOML document whose faulty lines are made good, one after the other.
type document struct {
	lines    [][]byte       // with their ends
	utf8     bool           // it is text at all
	unread   map[int]unread // by the index of the line, which has a value that is read now
	out      map[int]bool   // lines that are left out
	mistakes Mistakes       // those that are of no key's value
	lost     bool
	whole    int // lines before which all that begins ends too

	// The library compares each key with all those before it. What was found right, and
	// has to do with no other line, is decoded once, at the end, and not at every trial.
	named   map[string]int // how many lines name a part of a key
	settled int            // lines before which all is right by itself
	aside   []bool         // lines that are decoded at the end alone; nil: none
}

func newDocument(doc []byte) *document {
	doc = bytes.TrimPrefix(doc, []byte("\ufeff")) // a byte order mark, which some editors write
	d := &document{
		lines: slices.Collect(bytes.Lines(bytes.Clone(doc))), utf8: utf8.Valid(doc),
		unread: map[int]unread{}, out: map[int]bool{}, named: map[string]int{},
	}
	d.aside = make([]bool, len(d.lines))
	for _, line := range d.lines {
		for _, part := range parts(line) {
			d.named[part]++
		}
	}
	return d
}

func (d *document) text() []byte { return bytes.Join(d.lines, nil) }

// parts returns the parts of the key or heading that a line begins with.
func parts(line []byte) (all []string) {
	for _, part := range onePart.FindAll(anyName.Find(line), -1) {
		all = append(all, strings.Trim(string(part), `"'`))
	}
	return all
}

// settle finds more lines that are right by themselves, and sets those of them aside that
// have to do with no other line.
func (d *document) settle() {
	for d.aside != nil && d.settled < len(d.lines) {
		end := d.end(d.settled)
		if end == 0 {
			break
		}
		key := parts(keyLine.Find(d.lines[d.settled]))
		for i := d.settled; i < end && len(key) > 0 && d.named[key[0]] == 1; i++ {
			d.aside[i] = true
		}
		d.settled = end
	}
}

// trial is the text without the lines that are set aside, which are empty there.
func (d *document) trial() []byte {
	text := slices.Clone(d.lines)
	for i := range text {
		if d.aside != nil && d.aside[i] {
			text[i] = []byte("\n")
		}
	}
	return bytes.Join(text, nil)
}

// mostFaulty is how many lines are made good: of what is no TOML at all, every line is faulty.
const mostFaulty = 100

// decode makes the document good and decodes it. What is behind too many faulty lines is
// not read.
func (d *document) decode() map[string]any {
	for faulty := 0; ; faulty++ {
		d.settle()
		var values map[string]any
		err := toml.Unmarshal(d.trial(), &values)
		if err == nil && d.aside != nil {
			values = nil
			if err = toml.Unmarshal(d.text(), &values); err != nil {
				d.aside = nil // a key was written in a way that parts does not read
			}
		}
		switch {
		case err == nil:
			return values
		case faulty < mostFaulty:
			d.mend(err)
		default:
			m, _ := d.notation(err)
			m.Message = fmt.Sprintf("more than %d lines are no TOML: what follows is not read", mostFaulty)
			d.mistakes, d.lost = append(d.mistakes, *m), true
			d.lines = d.lines[:d.begin(m.Line-1)]
		}
	}
}

// A line that begins with a key, in TOML's notation, and one that begins with the heading
// of a table.
var (
	keyPart     = `(?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')`
	keyName     = keyPart + `(?:[ \t]*\.[ \t]*` + keyPart + `)*`
	keyLine     = regexp.MustCompile(`^[ \t]*` + keyName + `[ \t]*=`)
	headingLine = regexp.MustCompile(`^[ \t]*\[[ \t]*(` + keyName + `)`)
	anyName     = regexp.MustCompile(`^[ \t]*\[{0,2}[ \t]*` + keyName)
	onePart     = regexp.MustCompile(keyPart)
)

// mend makes one line good: the one with that error, or where that is in the middle of a
// value, the one with its key.
func (d *document) mend(err error) {
	m, wrong := d.notation(err)
	i := d.begin(m.Line - 1)
	line := d.lines[i]
	_, again := d.unread[i]
	heading := headingLine.FindSubmatch(line)
	twice := d.end(i) > 0 // right by itself, and its key or table is there already: the library says so in plain words
	switch {
	case keyLine.Match(line) && !again && !twice:
		key := keyLine.Find(line)
		value := string(bytes.TrimSpace(line[len(key):]))
		d.unread[i] = d.read(value, wrong, m)
		d.lines[i] = append(key, " ''\n"...)
		return
	case heading != nil && !twice && !bytes.HasSuffix(bytes.TrimSpace(line), []byte("]")):
		m.Message = fmt.Sprintf("the heading of a table ends with ]: write [%s]", heading[1])
		d.mistakes = append(d.mistakes, *m)
		d.lines[i] = fmt.Appendf(nil, "[%s]\n", heading[1])
		return
	case d.continues(i): // the rest of a value that was left out
	case !twice && bytes.HasPrefix(bytes.TrimSpace(line), []byte("//")):
		m.Message = "a comment begins with #"
		d.mistakes = append(d.mistakes, *m)
	default:
		m.Message = wrong
		if word, _, _ := strings.Cut(strings.TrimSpace(string(line)), " "); !twice && heading == nil && d.utf8 {
			word, _, _ = strings.Cut(word, ":") // not what is behind: it may be secret
			m.Message = fmt.Sprintf("accepted is KEY = VALUE, or [TABLE]; found a line that begins with %s", show(word))
		}
		if !d.utf8 {
			m.Message += " (the file is not UTF-8 text)"
		}
		d.mistakes = append(d.mistakes, *m)
		d.lost = true
	}
	d.leaveOut(i)
	for j := i + 1; heading != nil && j < len(d.lines) && !headingLine.Match(d.lines[j]); j++ { // the keys of that table
		d.leaveOut(j)
	}
}

func (d *document) leaveOut(i int) { d.lines[i], d.out[i] = []byte("\n"), true }

// continues tells whether line i stands directly below one that is left out, or that has
// the beginning of a value of several lines which is not read.
func (d *document) continues(i int) bool {
	return d.out[i-1] || severalLines.MatchString(d.unread[i-1].text)
}

var severalLines = regexp.MustCompile(`^([\[{]|"""|''')`)

// longestValue is how many lines a value has at most for its end to be looked for.
const longestValue = 100

// begin returns the line where the value begins in which line i is; i itself if that is in
// the middle of none.
func (d *document) begin(i int) int {
	for d.whole < i {
		end := d.end(d.whole)
		if end > i || end == 0 {
			break
		}
		d.whole = end
	}
	return min(d.whole, i)
}

// end returns the line behind what begins in line i and is right by itself; 0: that has no end.
func (d *document) end(i int) int {
	for end := i + 1; end <= min(len(d.lines), i+longestValue); end++ {
		if decodes(bytes.Join(d.lines[i:end], nil)) {
			return end
		}
	}
	return 0
}

// decodes tells whether a text is TOML. What the library says of it is for people: what is
// wrong with a value shows by what would be right.
func decodes(text []byte) bool { return toml.Unmarshal(text, &map[string]any{}) == nil }

// isValue tells whether a text is a value.
func isValue(text string) bool { return decodes([]byte("k = " + text + "\n")) }

// notation returns the place of the library's error, and its words.
func (d *document) notation(err error) (*Mistake, string) {
	m, words := &Mistake{Line: 1, Column: 1}, strings.TrimPrefix(err.Error(), "toml: ")
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		m.Line, m.Column = e.Position()
	}
	m.Line = min(max(m.Line, 1), len(d.lines))
	// Of the character that is meant the library has only the first byte.
	line := d.lines[m.Line-1]
	rest := line[min(m.Column-1, len(line)):]
	i := max(bytes.IndexFunc(rest, func(r rune) bool { return r >= utf8.RuneSelf }), 0)
	if r, n := utf8.DecodeRune(rest[i:]); n > 1 {
		words = strings.Replace(words, fmt.Sprintf("%#U", rest[i]), fmt.Sprintf("%#U", r), 1)
	}
	return m, words
}

// read finds out what is wrong with a value, which the library says in these words.
func (d *document) read(value, wrong string, m *Mistake) unread {
	u := unread{text: value}
	first, _ := utf8.DecodeRuneInString(value)
	switch {
	case !d.utf8:
		u.why = wrong + " (the file is not UTF-8 text)"
	case value == "" || first == '#':
		u.why = "no value stands behind the ="
	case strings.ContainsRune("“”„‟‘’‚«»`´", first):
		u.why = fmt.Sprintf(`accepted are the quotes " and ', not %c`, first)
	case !strings.ContainsRune(`"'[{`, first): // text without quotes, or a number with something behind it
		u.text, _, _ = strings.Cut(value, " #")
		u.text = strings.TrimSpace(u.text)
	case isValue(strings.ReplaceAll(value, `\`, `\\`)):
		u.why = `\ in "…" begins an escape: write \\ for it, or the text in '…'`
	case unclosed(value), unclosed(string(bytes.TrimSpace(d.lines[m.Line-1]))): // an element of a list stands in a line of its own
		u.why = fmt.Sprintf("a closing quote is missing in line %d", m.Line)
	case beginsWithValue(value):
		u.why = fmt.Sprintf("nothing but a comment, which begins with #, may stand behind the value (column %d)", m.Column)
	case first == '[':
		u.why = fmt.Sprintf("a list is written as [\"one\", \"two\"], with quotes, commas and both brackets: see line %d, column %d", m.Line, m.Column)
	default:
		u.why = wrong
	}
	return u
}

// unclosed tells whether a text in quotes lacks the last one.
func unclosed(text string) bool {
	return text != "" && strings.Contains(`"'`, text[:1]) && isValue(text+text[:1])
}

// beginsWithValue tells whether a value that has an end is followed by something else.
func beginsWithValue(text string) bool {
	closing := map[byte]byte{'"': '"', '\'': '\'', '[': ']', '{': '}'}[text[0]]
	for i := 1; i < len(text); i++ {
		if text[i] == closing && isValue(text[:i+1]) {
			return true
		}
	}
	return false
}

// lookup finds a value in nested tables; nil inside an array of tables, which no
// key of ours is.
func lookup(values map[string]any, path []string) any {
	for _, p := range path[:len(path)-1] {
		values, _ = values[p].(map[string]any)
	}
	return values[path[len(path)-1]]
}

var bare = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// dotted writes a key as TOML does: parts that are no bare words are quoted.
func dotted(path []string) string {
	parts := slices.Clone(path)
	for i, p := range parts {
		if !bare.MatchString(p) {
			parts[i] = strconv.Quote(p)
		}
	}
	return strings.Join(parts, ".")
}
