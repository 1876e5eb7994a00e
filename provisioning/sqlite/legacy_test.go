package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farmboot/provisioning"
)

func TestReadLegacy(t *testing.T) {
	for _, column := range []string{"branch", "release"} {
		t.Run(column, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bootstrap.sqlite3")
			exec(t, file, fmt.Sprintf(`CREATE TABLE provision (client TEXT PRIMARY KEY, %s TEXT, zerotier TEXT, kargs TEXT)`, column),
				`INSERT INTO provision VALUES ('52:54:00:00:00:01', 'prod', '77', 'zos-debug'), ('525400000002', 'master', '', NULL),
					('nonsense', 'prod', '', ''), ('525400000003', 'prod', '8056c2e21c000001', ''), ('525400000004', '', '', '')`)
			rows, err := ReadLegacy(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rows {
				if r.Err != nil {
					got = append(got, fmt.Sprintf("%d: %v", r.Line, r.Err))
					continue
				}
				n := r.Patch.Apply(provisioning.Node{MAC: r.MAC})
				got = append(got, fmt.Sprintf("%d: %s %s %s %q", r.Line, n.MAC, n.Farmer, n.RunMode, n.Args))
			}
			want := []string{
				`1: 52:54:00:00:00:01 77 prod "zos-debug"`,
				`2: 52:54:00:00:00:02 0 master ""`,
				`3: bad MAC address "nonsense": not twelve hexadecimal digits; accepted are 52:54:00:00:00:b1, 52-54-00-00-00-b1, 5254.0000.00b1 and 5254000000b1`,
				`4: zerotier "8056c2e21c000001" is not a farmer id (1 to 4294967295)`,
				`5: no run mode`,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadLegacyLeavesTheFileAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bootstrap.sqlite3")
	exec(t, file, `CREATE TABLE provision (client, branch, zerotier, kargs)`)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLegacy(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(file)
	if err != nil || string(before) != string(after) {
		t.Errorf("the file was changed, %v", err)
	}
	list, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(list) != 1 {
		t.Errorf("files beside it: %v, %v", list, err)
	}
}

// FuzzReadLegacy reads files that are damaged, or never were databases.
func FuzzReadLegacy(f *testing.F) {
	file := filepath.Join(f.TempDir(), "bootstrap.sqlite3")
	db, err := pool(file, "", 1)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		`CREATE TABLE provision (client, branch, zerotier, kargs)`,
		`INSERT INTO provision VALUES ('52:54:00:00:00:01', 'prod', '77', 'zos-debug'), (x'00', 5, 7.5, NULL)`,
	} {
		if _, err := db.Exec(s); err != nil {
			f.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(strings.Repeat("x", 600)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		file := filepath.Join(t.TempDir(), "f.sqlite3")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		rows, err := ReadLegacy(t.Context(), file)
		if err != nil {
			return
		}
		for _, r := range rows {
			if r.Err == nil && (r.MAC.IsZero() || r.Patch.RunMode == nil || *r.Patch.RunMode == "") {
				t.Errorf("row %+v passes for a good one", r)
			}
		}
	})
}
