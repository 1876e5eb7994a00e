package sqlstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"farmboot/provisioning"
)

// Table is a table as [Copy] sees it.
type Table struct {
	Name    string
	Columns []string // but for those that the database computes

	Booleans []string // those of them that hold truths, where they are not 0 and 1
}

// ReadTables reads what an implementation of [Whole.Tables] asked for, in order: the name of
// a table, that of a column, and whether that holds a truth that is not 0 or 1.
func ReadTables(rows *sql.Rows) (tables []Table, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var table, column string
		var boolean bool
		if err := rows.Scan(&table, &column, &boolean); err != nil {
			return nil, err
		}
		if len(tables) == 0 || tables[len(tables)-1].Name != table {
			tables = append(tables, Table{Name: table})
		}
		last := &tables[len(tables)-1]
		last.Columns = append(last.Columns, column)
		if boolean {
			last.Booleans = append(last.Booleans, column)
		}
	}
	return tables, rows.Err()
}

// Whole is a store that can be copied whole, into one of another kind.
type Whole interface {
	// Tables lists the tables that hold what is stored.
	Tables(ctx context.Context) ([]Table, error)
	// Reading runs fn on one state of the store, whatever is written meanwhile.
	Reading(ctx context.Context, fn func(Querier) error) error
	// Filling runs fn in a transaction that may give rows their numbers. When it has
	// ended well, new rows get numbers that follow.
	Filling(ctx context.Context, fn func(Querier) error) error
	// Overriding is what an INSERT says that gives a row its number.
	Overriding() string
}

// referred are the tables that rows of others refer to: they are copied first, in this
// order.
var referred = []string{"farmers", "nodes", "tokens"}

// Copied tells how much was copied: rows by table.
type Copied map[string]int

// Copy copies all that is in one store into another one, which must be empty, and then
// reads both and compares them. The error is an [provisioning.Error] with code
// [provisioning.Conflict] if there is something in the other one. After an error it
// holds nothing.
func Copy(ctx context.Context, from, to Whole) (Copied, error) {
	tables, err := from.Tables(ctx)
	if err != nil {
		return nil, err
	}
	others, err := to.Tables(ctx)
	if err != nil {
		return nil, err
	}
	if err := sameTables(tables, others); err != nil {
		return nil, err
	}
	booleans := make(map[string][]string) // of the other one, by table
	for _, t := range others {
		booleans[t.Name] = t.Booleans
	}
	rank := func(t Table) int {
		if i := slices.Index(referred, t.Name); i >= 0 {
			return i
		}
		return len(referred)
	}
	slices.SortFunc(tables, func(a, b Table) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name))
	})
	copied := Copied{}
	err = from.Reading(ctx, func(source Querier) error {
		return to.Filling(ctx, func(target Querier) error {
			for _, t := range tables {
				if err := wantEmpty(ctx, target, t); err != nil {
					return err
				}
			}
			for _, t := range tables {
				n, err := copyTable(ctx, source, target, t, booleans[t.Name], to.Overriding())
				if err != nil {
					return fmt.Errorf("copy table %s: %w", t.Name, err)
				}
				copied[t.Name] = n
			}
			for _, t := range tables {
				if err := compareTable(ctx, source, target, t); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return copied, err
}

// sameTables refuses stores of different schemas.
func sameTables(a, b []Table) error {
	names := func(tables []Table) string {
		var all []string
		for _, t := range tables {
			columns := slices.Sorted(slices.Values(t.Columns))
			all = append(all, t.Name+"("+strings.Join(columns, " ")+")")
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	if a, b := names(a), names(b); a != b {
		return fmt.Errorf("the two kinds of database differ: %s here, %s there", a, b)
	}
	return nil
}

func wantEmpty(ctx context.Context, in Querier, t Table) error {
	var n int
	if err := in.QueryRowContext(ctx, `SELECT count(*) FROM `+t.Name).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return provisioning.Errorf(provisioning.Conflict, "the new database is not empty: %d rows are in its table %s", n, t.Name)
	}
	return nil
}

// eachRow calls fn with every row of a table.
func eachRow(ctx context.Context, in Querier, t Table, fn func([]any) error) (err error) {
	rows, err := in.QueryContext(ctx, `SELECT `+strings.Join(t.Columns, ", ")+` FROM `+t.Name)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, rows.Close()) }()
	for rows.Next() {
		values := make([]any, len(t.Columns))
		into := make([]any, len(values))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			if b, ok := v.(bool); ok {
				values[i] = int64(bit(b))
			}
		}
		if err := fn(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

func copyTable(ctx context.Context, from, to Querier, t Table, booleans []string, overriding string) (n int, err error) {
	params := make([]string, len(t.Columns))
	for i := range params {
		params[i] = param(i + 1)
		if slices.Contains(booleans, t.Columns[i]) {
			params[i] = "CAST(" + params[i] + " AS BIGINT) <> 0"
		}
	}
	insert := `INSERT INTO ` + t.Name + ` (` + strings.Join(t.Columns, ", ") + `)` + overriding + ` VALUES (` + strings.Join(params, ", ") + `)`
	err = eachRow(ctx, from, t, func(values []any) error {
		n++
		_, err := to.ExecContext(ctx, insert, values...)
		return err
	})
	return n, err
}

// compareTable refuses a copy that differs from its original.
func compareTable(ctx context.Context, a, b Querier, t Table) error {
	one, err := digest(ctx, a, t)
	if err != nil {
		return err
	}
	other, err := digest(ctx, b, t)
	if err != nil {
		return err
	}
	if one != other {
		return fmt.Errorf("compare table %s: the copy differs from the original", t.Name)
	}
	return nil
}

// digest is a number for all rows of a table, in whatever order they come: the sum of
// their hashes, of which no two are alike, for each has a key of its own.
func digest(ctx context.Context, in Querier, t Table) (sum [sha256.Size]byte, err error) {
	err = eachRow(ctx, in, t, func(values []any) error {
		hash := sha256.New()
		for _, v := range values {
			switch v := v.(type) {
			case nil:
				fmt.Fprint(hash, "nil;")
			case []byte:
				fmt.Fprintf(hash, "%d:%s;", len(v), v)
			default: // a text in one may be bytes in the other
				text := fmt.Sprint(v)
				fmt.Fprintf(hash, "%d:%s;", len(text), text)
			}
		}
		for i, b := range hash.Sum(nil) {
			sum[i] ^= b
		}
		return nil
	})
	return sum, err
}
