package storetest

import (
	"path/filepath"
	"testing"

	"farmboot/provisioning/sqlite"
)

// SQLite returns an empty store in a file, closed at the end of the test.
func SQLite(t testing.TB) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "provisioning.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
