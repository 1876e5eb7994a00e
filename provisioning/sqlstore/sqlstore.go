// Package sqlstore holds the queries that the SQLite and the PostgreSQL store
// share.
//
// Both databases understand the same small SQL: numbered parameters in the order
// of their first use, ON CONFLICT DO UPDATE, times as whole Unix milliseconds, MAC
// addresses as six bytes, 0 and the empty string instead of NULL wherever nothing
// refers to another table. How to open, migrate, watch and back up a database, and
// what its error codes mean, is in its own package.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"farmboot/provisioning"
)

// Querier runs queries: a [sql.DB] or a [sql.Tx].
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Reader is a [provisioning.Reader].
type Reader struct {
	Q Querier

	// Explain turns an error of the database into an [provisioning.Error] where it
	// means something to people.
	Explain func(error) error

	// Snapshot runs fn on one state of the database, whatever is written meanwhile; nil:
	// Q is of a transaction, which sees one anyway.
	Snapshot func(ctx context.Context, fn func(Querier) error) error
}

// Tx is a [provisioning.Tx].
type Tx struct {
	Reader
	OnDecision func() // called when a node or a line of the history is written; nil: nobody wants to know
}

// decided tells that a node or a line of the history is written.
func (t Tx) decided() {
	if t.OnDecision != nil {
		t.OnDecision()
	}
}

// one scans the only row of a query by key. Where there is none, the error says so in the
// words of notFound, a format for what.
func (r Reader) one(ctx context.Context, dest []any, query string, key any, notFound string, what ...any) error {
	err := r.Q.QueryRowContext(ctx, query, key).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return provisioning.Errorf(provisioning.NotFound, notFound, what...)
	}
	return r.Explain(err)
}

// all collects the rows of a query. It is a function because methods have no type
// parameters.
func all[T any](ctx context.Context, r Reader, scan func(*T) []any, query string, args ...any) (_ []T, err error) {
	rows, err := r.Q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, r.Explain(err)
	}
	defer func() { err = r.Explain(errors.Join(err, rows.Close())) }()
	found := []T{}
	for rows.Next() {
		var t T
		if err := rows.Scan(scan(&t)...); err != nil {
			return nil, err
		}
		found = append(found, t)
	}
	return found, rows.Err()
}

// exec runs a statement that returns nothing.
func (t Tx) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.Q.ExecContext(ctx, query, args...)
	return t.Explain(err)
}

// where collects conditions and their parameters.
type where struct {
	conditions []string
	args       []any
}

// and adds a condition; each '?' in it becomes the next numbered parameter.
func (w *where) and(condition string, args ...any) {
	w.conditions = append(w.conditions, w.number(condition, args...))
}

// number replaces each '?' in text by the next numbered parameter.
func (w *where) number(text string, args ...any) string {
	for _, a := range args {
		w.args = append(w.args, a)
		text = strings.Replace(text, "?", param(len(w.args)), 1)
	}
	return text
}

// param is the name of parameter n.
func param(n int) string {
	const digits = "0123456789"
	if n < 10 {
		return "$" + digits[n:n+1]
	}
	return "$" + digits[n/10:n/10+1] + digits[n%10:n%10+1]
}

// String is the WHERE clause.
func (w *where) String() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// limit is the LIMIT clause for at most n rows; 0: all.
func (w *where) limit(n int) string {
	if n <= 0 {
		return ""
	}
	return w.number(" LIMIT ?", n)
}

// page is the clause for at most n rows, 0: all, behind the first so many.
func (w *where) page(skip, n int) string {
	if skip <= 0 {
		return w.limit(n)
	}
	if n <= 0 {
		n = math.MaxInt32 // SQLite knows no OFFSET without a LIMIT
	}
	return w.number(" LIMIT ? OFFSET ?", n, skip)
}

// like makes a pattern for LIKE … ESCAPE '\' that finds text anywhere.
func like(text string) string { return "%" + escape(text) + "%" }

// escape makes a pattern that finds just that text, in small letters.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(text))
}

// contains is the condition that a column holds text, as [matches] compares it.
func contains(column, text string) (condition string, args []any) {
	return matches(column, text, like(text))
}

// is is the condition that a column is text, where * stands for anything, as [matches]
// compares it.
func is(column, text string) (condition string, args []any) {
	return matches(column, text, strings.ReplaceAll(escape(text), "*", "%"))
}

// matches is the condition that a column matches the pattern of a text, whatever the case
// of letters, and its parameters: one for each '?', for SQLite and PostgreSQL agree on
// nothing else.
//
// SQLite's lower knows the letters of ASCII only, and PostgreSQL's those of its locale:
// others that text has are replaced by name.
func matches(column, text, pattern string) (condition string, args []any) {
	condition = "lower(" + column + ")"
	text = strings.ToLower(text)
	replaced := map[rune]bool{}
	for _, small := range text {
		if small < utf8.RuneSelf {
			continue
		}
		for r := unicode.SimpleFold(small); r != small; r = unicode.SimpleFold(r) {
			if r >= utf8.RuneSelf && !replaced[r] && len(replaced) < foldedLetters {
				replaced[r] = true
				condition, args = "replace("+condition+", ?, ?)", append(args, string(r), string(small))
			}
		}
	}
	return condition + ` LIKE ? ESCAPE '\'`, append(args, pattern)
}

// foldedLetters is how many different letters beyond ASCII are looked for in both cases;
// who knows so many of a name finds it by them.
const foldedLetters = 40

// flag reads a truth, stored as 0 or 1, or as one.
type flag struct{ b *bool }

// Scan reads the number.
func (f flag) Scan(src any) error {
	if b, ok := src.(bool); ok {
		*f.b = b
		return nil
	}
	var n sql.NullInt64
	err := n.Scan(src)
	*f.b = n.Int64 != 0
	return err
}

// bit is a truth as it is stored.
func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// millis reads a [time.Time], see [provisioning.Millis].
type millis struct{ t *time.Time }

// Scan reads the milliseconds.
func (m millis) Scan(src any) error {
	var n sql.NullInt64
	if err := n.Scan(src); err != nil {
		return err
	}
	*m.t = provisioning.FromMillis(n.Int64)
	return nil
}
