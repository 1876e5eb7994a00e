package sqlite

import (
	"context"

	"farmboot/provisioning/sqlstore"
)

var _ sqlstore.Whole = (*Store)(nil)

// Tables implements [sqlstore.Whole].
func (s *Store) Tables(ctx context.Context) ([]sqlstore.Table, error) {
	rows, err := s.lists.QueryContext(ctx, `SELECT t.name, c.name, 0 FROM pragma_table_list AS t, pragma_table_info(t.name) AS c
		WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.cid`)
	if err != nil {
		return nil, explain(err)
	}
	tables, err := sqlstore.ReadTables(rows)
	return tables, explain(err)
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
