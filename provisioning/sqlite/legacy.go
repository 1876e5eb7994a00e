package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"

	"farmboot/provisioning"
)

// magic is how every SQLite file begins (SQLite file format, section 1.2).
var magic = []byte("SQLite format 3\x00")

// IsSQLite tells whether a file that begins with head is a SQLite file. It takes
// 16 bytes to tell.
func IsSQLite(head []byte) bool { return bytes.HasPrefix(head, magic) }

// ReadLegacy reads the nodes of a legacy bootstrap.sqlite3: the table
// provision(client, branch, zerotier, kargs), where branch, release in some, is the
// run mode, zerotier the farmer id and kargs the kernel arguments. It guesses
// nothing: a row with a value that is none becomes a [provisioning.Row] with Err,
// and a run mode is looked at by whoever imports. The file is not written. The error
// names it.
func ReadLegacy(ctx context.Context, file string) (_ []provisioning.Row, err error) {
	db, err := pool(file, "mode=ro&"+readSettings, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	t, err := legacyTableOf(ctx, db)
	if err != nil {
		return nil, unreadable(file, err)
	}
	// Legacy tables say nothing of types: cast turns numbers into their digits.
	rows, err := db.QueryContext(ctx, `SELECT `+t.line+`, CAST(coalesce(client, '') AS TEXT), CAST(coalesce(`+t.runmode+`, '') AS TEXT),
		CAST(coalesce(zerotier, '') AS TEXT), CAST(coalesce(kargs, '') AS TEXT) FROM provision ORDER BY 1`)
	if err != nil {
		return nil, unreadable(file, err)
	}
	defer rows.Close()
	var found []provisioning.Row
	for rows.Next() {
		var line int
		var client, mode, farmer, args string
		if err := rows.Scan(&line, &client, &mode, &farmer, &args); err != nil {
			return nil, unreadable(file, err)
		}
		found = append(found, legacyRow(line, client, mode, farmer, args))
	}
	if err := rows.Err(); err != nil {
		return nil, unreadable(file, err)
	}
	return found, nil
}

// unreadable says what is wrong with a file that is to be imported: it is not our
// database, so no backup of ours helps.
func unreadable(file string, err error) error {
	if e, ok := errors.AsType[sqlite3.Error](err); ok && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB) {
		return provisioning.Errorf(provisioning.Invalid, "%s is damaged: %w", file, err)
	}
	if provisioning.ErrorCode(err) == provisioning.Invalid {
		return provisioning.Errorf(provisioning.Invalid, "%s is %w", file, err)
	}
	return fmt.Errorf("read %s: %w", file, err)
}

// legacyTable is what differs between legacy tables.
type legacyTable struct {
	line    string // SQL for the number of a row
	runmode string // the column that holds the run mode
}

// legacyTableOf checks that the table is there. SQL does not tell names by case.
func legacyTableOf(ctx context.Context, db *sql.DB) (t legacyTable, err error) {
	rows, err := db.QueryContext(ctx, `SELECT lower(c.name), l.wr
		FROM pragma_table_list('provision') AS l, pragma_table_info('provision') AS c`)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	t.line = "rowid"
	var columns []string
	for rows.Next() {
		var name string
		var withoutRowid bool
		if err := rows.Scan(&name, &withoutRowid); err != nil {
			return t, err
		}
		columns = append(columns, name)
		if withoutRowid {
			t.line = "row_number() OVER (ORDER BY client)"
		}
	}
	if err := rows.Err(); err != nil {
		return t, err
	}
	for _, want := range []string{"client", "zerotier", "kargs"} {
		if !slices.Contains(columns, want) {
			return t, provisioning.Errorf(provisioning.Invalid, "not a legacy bootstrap.sqlite3: it has no table provision with a column %s", want)
		}
	}
	for _, t.runmode = range []string{"branch", "release"} {
		if slices.Contains(columns, t.runmode) {
			return t, nil
		}
	}
	return t, provisioning.Errorf(provisioning.Invalid, "not a legacy bootstrap.sqlite3: its table provision has neither a column branch nor release")
}

// legacyRow reads a row as ReadCSV reads a line of the same values.
func legacyRow(line int, client, mode, farmer, args string) provisioning.Row {
	r := provisioning.Row{Line: line}
	if r.Err = r.Set("mac", client); r.Err != nil {
		return r
	}
	if strings.TrimSpace(mode) == "" {
		r.Err = provisioning.Errorf(provisioning.Invalid, "no run mode")
		return r
	}
	if r.Set("farmer", farmer) != nil {
		r.Err = provisioning.Errorf(provisioning.Invalid, "zerotier %q is not a farmer id (1 to 4294967295)", farmer)
		return r
	}
	r.Err = errors.Join(r.Set("runmode", mode), r.Set("args", args))
	return r
}
