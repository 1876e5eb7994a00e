package setup

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
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

// settings reads a TOML document into its settings, in order, as far as its first error
// of notation. The library's strict mode stops at the first wrong type and its values
// carry no positions; so the library decodes the document, which finds the errors of
// notation, and its parser then tells where each key stands.
func settings(doc []byte) (found []setting, mistake *Mistake) {
	doc = bytes.TrimPrefix(doc, []byte("\ufeff")) // a byte order mark, which some editors write
	var values map[string]any
	for err := toml.Unmarshal(doc, &values); err != nil; err = toml.Unmarshal(doc, &values) {
		wrong, line := notation(doc, err)
		if mistake == nil {
			mistake = wrong
		}
		doc, values = doc[:line], nil // what is begun before that line has no end now
	}
	var p unstable.Parser
	p.Reset(doc)
	var table []string // the heading that we are under
	var add func(table []string, e *unstable.Node)
	add = func(under []string, e *unstable.Node) {
		path, isKey := slices.Clone(under), e.Kind == unstable.KeyValue
		s := setting{table: !isKey || e.Value().Kind == unstable.InlineTable}
		for it := e.Key(); it.Next(); path = append(path, string(it.Node().Data)) {
			if s.at.Line == 0 {
				s.at = p.Shape(it.Node().Raw).Start
			}
		}
		if e.Kind == unstable.ArrayTable {
			path = []string{"[[" + dotted(path) + "]]"} // no table of ours is a list
		}
		s.key = dotted(path)
		if !s.table {
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
	return found, mistake
}

// notation turns the library's error into a Mistake, and returns where its line begins.
func notation(doc []byte, err error) (*Mistake, int) {
	m, line := &Mistake{Message: strings.TrimPrefix(err.Error(), "toml: ")}, 0
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		m.Line, m.Column = e.Position()
		for range m.Line - 1 {
			line += bytes.IndexByte(doc[line:], '\n') + 1
		}
		// Of the character that is meant the library has only the first byte.
		rest := doc[min(line+m.Column-1, len(doc)):]
		i := max(bytes.IndexFunc(rest, func(r rune) bool { return r >= utf8.RuneSelf }), 0)
		if r, n := utf8.DecodeRune(rest[i:]); n > 1 {
			m.Message = strings.Replace(m.Message, fmt.Sprintf("%#U", rest[i]), fmt.Sprintf("%#U", r), 1)
		}
	}
	if !utf8.Valid(doc) {
		m.Message += " (the file is not UTF-8 text)"
	}
	return m, line
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
