package setup

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// setting is a key or the heading of a table as it stands in the file.
type setting struct {
	key          string // dotted: network.interface
	value        any    // what the library decodes it to; nil for a heading
	table        bool   // a heading
	line, column int
}

func (s setting) mistake(message string) Mistake {
	return Mistake{Line: s.line, Column: s.column, Message: message}
}

// settings reads a TOML document into its settings, in order. The library's
// strict mode stops at the first wrong type and its values carry no positions; so
// the library decodes the document, which finds every error of notation, and its
// parser then tells where each key stands.
func settings(doc []byte) ([]setting, *Mistake) {
	doc = bytes.TrimPrefix(doc, []byte("\ufeff")) // a byte order mark, which some editors write
	var values map[string]any
	if err := toml.Unmarshal(doc, &values); err != nil {
		return nil, notation(doc, err)
	}
	r := reader{values: values}
	r.parser.Reset(doc)
	for r.parser.NextExpression() {
		switch e := r.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			path, at := r.path(e)
			if e.Kind == unstable.ArrayTable {
				path = []string{"[[" + dotted(path) + "]]"} // no table of ours is a list
			}
			r.table = path
			r.found = append(r.found, setting{key: dotted(path), table: true, line: at.Line, column: at.Column})
		case unstable.KeyValue:
			r.assignment(r.table, e)
		}
	}
	return r.found, nil
}

// notation turns the library's error into a Mistake.
func notation(doc []byte, err error) *Mistake {
	m := &Mistake{Message: strings.TrimPrefix(err.Error(), "toml: ")}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		m.Line, m.Column = e.Position()
		m.Message = wholeCharacter(m.Message, after(doc, m.Line, m.Column))
	}
	if !utf8.Valid(doc) {
		m.Message += " (the file is not UTF-8 text)"
	}
	return m
}

var aByte = regexp.MustCompile(`U\+00([89A-F][0-9A-F])( '.')?`)

// wholeCharacter puts the character that is meant into a message of the library,
// which has only its first byte; rest is the document from the error on.
func wholeCharacter(message string, rest []byte) string {
	found := aByte.FindStringSubmatch(message)
	if found == nil {
		return message
	}
	b, _ := strconv.ParseUint(found[1], 16, 8) // two hexadecimal digits
	r, _ := utf8.DecodeRune(rest[max(bytes.IndexByte(rest, byte(b)), 0):])
	if r == utf8.RuneError {
		return message
	}
	return strings.Replace(message, found[0], fmt.Sprintf("%#U", r), 1)
}

// after returns the document from a place on; lines and columns, in bytes, count
// from 1.
func after(doc []byte, line, column int) []byte {
	for range line - 1 {
		_, doc, _ = bytes.Cut(doc, []byte("\n"))
	}
	return doc[min(max(column-1, 0), len(doc)):]
}

// reader walks the syntax tree of a document.
type reader struct {
	parser unstable.Parser
	values map[string]any
	table  []string // the heading that we are under
	found  []setting
}

// assignment adds the key of a key = value under table; for an inline table,
// the keys inside it.
func (r *reader) assignment(table []string, e *unstable.Node) {
	name, at := r.path(e)
	path := append(append([]string(nil), table...), name...)
	if e.Value().Kind != unstable.InlineTable {
		r.found = append(r.found, setting{key: dotted(path), value: lookup(r.values, path), line: at.Line, column: at.Column})
		return
	}
	r.found = append(r.found, setting{key: dotted(path), table: true, line: at.Line, column: at.Column})
	for it := e.Value().Children(); it.Next(); {
		r.assignment(path, it.Node())
	}
}

// path returns the key of a heading or assignment and where it starts.
func (r *reader) path(e *unstable.Node) ([]string, unstable.Position) {
	var path []string
	var at unstable.Position
	for it := e.Key(); it.Next(); {
		if path == nil {
			at = r.parser.Shape(it.Node().Raw).Start
		}
		path = append(path, string(it.Node().Data))
	}
	return path, at
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
	parts := make([]string, len(path))
	for i, p := range path {
		if !bare.MatchString(p) {
			p = strconv.Quote(p)
		}
		parts[i] = p
	}
	return strings.Join(parts, ".")
}
