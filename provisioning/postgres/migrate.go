package postgres

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"farmboot/provisioning"
	"farmboot/provisioning/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schema is the list of migrations that this program knows. They are compiled in:
// a mistake in them is a mistake in the program.
func schema() []sqlstore.Migration {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err)
	}
	list, err := sqlstore.Migrations(dir)
	if err != nil {
		panic(err)
	}
	return list
}

// migrate brings the database to the newest of the migrations, all in one
// transaction, so that a failure leaves it as it was. The version is the one row of
// table schema_version.
func migrate(ctx context.Context, db *sql.DB, list []sqlstore.Migration) error {
	tx, err := begin(ctx, db)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit it does nothing
	version, err := versionOf(ctx, tx)
	if err != nil {
		return err
	}
	if version > len(list) {
		return provisioning.Errorf(provisioning.Unavailable, "the PostgreSQL database has schema %d, made by a newer farmboot; this one knows up to %d: install the newer one", version, len(list))
	}
	for _, m := range list[version:] {
		if err := m.Apply(ctx, tx); err != nil {
			return fmt.Errorf("migrate database to %s: %w", m.Name, explain(err))
		}
		if _, err := tx.ExecContext(ctx, `UPDATE schema_version SET version = $1`, m.Version); err != nil {
			return fmt.Errorf("migrate database to %s: %w", m.Name, explain(err))
		}
	}
	return explain(tx.Commit())
}

// versionOf returns the schema's version, 0 for an empty database.
func versionOf(ctx context.Context, tx *sql.Tx) (version int, err error) {
	_, err = tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL);
		INSERT INTO schema_version SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM schema_version)`)
	if err == nil {
		err = tx.QueryRowContext(ctx, `SELECT version FROM schema_version`).Scan(&version)
	}
	return version, explain(err)
}
