package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"farmboot/provisioning/sqlstore"
)

var _ sqlstore.Whole = (*Store)(nil)

// Tables implements [sqlstore.Whole].
func (s *Store) Tables(ctx context.Context) ([]sqlstore.Table, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT table_name, column_name, data_type = 'boolean' FROM information_schema.columns
		WHERE table_schema = current_schema() AND table_name <> 'schema_version' AND is_generated = 'NEVER'
		ORDER BY table_name, ordinal_position`)
	if err != nil {
		return nil, explain(err)
	}
	tables, err := sqlstore.ReadTables(rows)
	return tables, explain(err)
}

// Reading implements [sqlstore.Whole].
func (s *Store) Reading(ctx context.Context, fn func(sqlstore.Querier) error) error {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return explain(err)
	}
	defer tx.Rollback()
	return fn(tx)
}

// Filling implements [sqlstore.Whole].
func (s *Store) Filling(ctx context.Context, fn func(sqlstore.Querier) error) error {
	tx, err := begin(ctx, s.db)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return explain(err)
	}
	if err := continueNumbers(ctx, tx); err != nil {
		return explain(err)
	}
	if _, err := tx.ExecContext(ctx, `NOTIFY `+channel); err != nil {
		return explain(err)
	}
	return explain(tx.Commit())
}

// continueNumbers lets each identity column go on behind its highest number.
func continueNumbers(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = current_schema() AND is_identity = 'YES'`)
	if err != nil {
		return err
	}
	type identity struct{ table, column string }
	var all []identity
	for rows.Next() {
		var i identity
		if err := rows.Scan(&i.table, &i.column); err != nil {
			return errors.Join(err, rows.Close())
		}
		all = append(all, i)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, i := range all {
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`SELECT setval(pg_get_serial_sequence('%s', '%s'), coalesce((SELECT max(%[2]s) FROM %[1]s), 0) + 1, false)`, i.table, i.column))
		if err != nil {
			return err
		}
	}
	return nil
}

// Overriding implements [sqlstore.Whole].
func (*Store) Overriding() string { return " OVERRIDING SYSTEM VALUE" }
