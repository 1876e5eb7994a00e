package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

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
// and a run mode is looked at by whoever imports. The file is not written.
func ReadLegacy(ctx context.Context, file string) (_ []provisioning.Row, err error) {
	db, err := pool(file, "mode=ro&"+readSettings, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	runmode, err := legacyColumns(ctx, db)
	if err != nil {
		return nil, err
	}
	// Legacy tables say nothing of types: cast turns numbers into their digits.
	rows, err := db.QueryContext(ctx, `SELECT rowid, CAST(coalesce(client, '') AS TEXT), CAST(coalesce(`+runmode+`, '') AS TEXT),
		CAST(coalesce(zerotier, '') AS TEXT), CAST(coalesce(kargs, '') AS TEXT) FROM provision ORDER BY rowid`)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, explain(err))
	}
	defer rows.Close()
	var found []provisioning.Row
	for rows.Next() {
		var line int
		var client, mode, farmer, args string
		if err := rows.Scan(&line, &client, &mode, &farmer, &args); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, explain(err))
		}
		found = append(found, legacyRow(line, client, mode, farmer, args))
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, explain(err))
	}
	return found, nil
}

// legacyColumns checks that the table is there, and returns which column holds the
// run mode.
func legacyColumns(ctx context.Context, db *sql.DB) (runmode string, err error) {
	rows, err := db.QueryContext(ctx, `SELECT name FROM pragma_table_info('provision')`)
	if err != nil {
		return "", explain(err)
	}
	defer rows.Close()
	var columns []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return "", err
		}
		columns = append(columns, name)
	}
	if err := rows.Err(); err != nil {
		return "", explain(err)
	}
	for _, want := range []string{"client", "zerotier", "kargs"} {
		if !slices.Contains(columns, want) {
			return "", provisioning.Errorf(provisioning.Invalid, "not a legacy bootstrap.sqlite3: it has no table provision with a column %s", want)
		}
	}
	for _, runmode := range []string{"branch", "release"} {
		if slices.Contains(columns, runmode) {
			return runmode, nil
		}
	}
	return "", provisioning.Errorf(provisioning.Invalid, "not a legacy bootstrap.sqlite3: its table provision has neither a column branch nor release")
}

func legacyRow(line int, client, mode, farmer, args string) provisioning.Row {
	r := provisioning.Row{Line: line}
	if r.MAC, r.Err = provisioning.ParseMAC(client); r.Err != nil {
		return r
	}
	if mode == "" {
		r.Err = provisioning.Errorf(provisioning.Invalid, "no run mode")
		return r
	}
	runmode := provisioning.RunMode(mode)
	r.Patch.RunMode = &runmode
	var id provisioning.FarmerID
	if farmer != "" && farmer != "0" {
		if id, r.Err = provisioning.ParseFarmerID(farmer); r.Err != nil {
			r.Err = provisioning.Errorf(provisioning.Invalid, "zerotier %q is not a farmer id (1 to 4294967295)", farmer)
			return r
		}
	}
	r.Patch.Farmer, r.Patch.Args = &id, &args
	return r
}
