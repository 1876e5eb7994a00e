package sqlstore

import (
	"fmt"
	"io/fs"
	"strings"
)

// Migration takes a schema from version Version-1 to Version.
type Migration struct {
	Version int
	Name    string // of its file, without ".sql"
	SQL     string
}

// Migrations reads the *.sql files of a folder: 0001_….sql, 0002_….sql, without a
// gap.
func Migrations(dir fs.FS) ([]Migration, error) {
	names, err := fs.Glob(dir, "*.sql")
	if err != nil {
		return nil, err
	}
	var found []Migration
	for i, name := range names { // sorted: see fs.Glob
		if !strings.HasPrefix(name, fmt.Sprintf("%04d_", i+1)) {
			return nil, fmt.Errorf("migration %s is not number %d", name, i+1)
		}
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, err
		}
		found = append(found, Migration{i + 1, strings.TrimSuffix(name, ".sql"), string(text)})
	}
	return found, nil
}
