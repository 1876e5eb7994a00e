package sqlite_test

import (
	"path/filepath"
	"testing"

	"farmboot/provisioning"
	"farmboot/provisioning/sqlite"
	"farmboot/provisioning/storetest"
)

// open opens a store in the file, and closes it at the end of the test.
func open(t testing.TB, file string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), file)
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

func TestStore(t *testing.T) {
	folders := map[string]string{}
	storetest.Run(t, func(t *testing.T, name string) provisioning.Store {
		key := t.Name() + "/" + name
		if folders[key] == "" {
			folders[key] = t.TempDir()
		}
		return open(t, filepath.Join(folders[key], "what? a #50%.db"))
	})
}
