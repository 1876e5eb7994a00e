package sqlite

import (
	"context"
	"errors"

	"farmboot/provisioning/sqlstore"
)

var _ sqlstore.Whole = (*Store)(nil)

// Tables implements [sqlstore.Whole].
func (s *Store) Tables(ctx context.Context) (_ []sqlstore.Table, err error) {
	rows, err := s.lists.QueryContext(ctx, `SELECT t.name, c.name FROM pragma_table_list AS t, pragma_table_info(t.name) AS c
		WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.cid`)
	if err != nil {
		return nil, explain(err)
	}
	defer func() { err = explain(errors.Join(err, rows.Close())) }()
	var tables []sqlstore.Table
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return nil, err
		}
		if len(tables) == 0 || tables[len(tables)-1].Name != table {
			tables = append(tables, sqlstore.Table{Name: table})
		}
		last := &tables[len(tables)-1]
		last.Columns = append(last.Columns, column)
	}
	return tables, rows.Err()
}

// Reading implements [sqlstore.Whole].
func (s *Store) Reading(ctx context.Context, fn func(sqlstore.Querier) error) error {
	tx, err := s.lists.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	defer tx.Rollback()
	return fn(tx)
}

// Filling implements [sqlstore.Whole]. SQLite counts on from the highest number by
// itself.
func (s *Store) Filling(ctx context.Context, fn func(sqlstore.Querier) error) error {
	if s.readOnly != nil {
		return s.readOnly
	}
	tx, err := s.durable.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return explain(err)
	}
	return explain(tx.Commit())
}

// Overriding implements [sqlstore.Whole].
func (*Store) Overriding() string { return "" }
