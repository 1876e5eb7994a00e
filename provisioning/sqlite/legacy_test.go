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
	for _, table := range []string{
		"provision (client TEXT PRIMARY KEY, branch TEXT, zerotier TEXT, kargs TEXT)",
		"provision (client TEXT PRIMARY KEY, release TEXT, zerotier TEXT, kargs TEXT)",
		"PROVISION (CLIENT TEXT PRIMARY KEY, Branch TEXT, ZEROTIER TEXT, KARGS TEXT)",
		"provision (client TEXT PRIMARY KEY, branch TEXT, zerotier TEXT, kargs TEXT) WITHOUT ROWID",
	} {
		t.Run(table, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bootstrap.sqlite3")
			exec(t, file, `CREATE TABLE `+table,
				`INSERT INTO provision VALUES ('52:54:00:00:00:01', 'prod', '77', 'zos-debug'), ('52:54:00:00:00:02', 'master', '', NULL),
					('52:54:00:00:00:nonsense', 'prod', '', ''), ('52:54:00:00:01:03', 'prod', '8056c2e21c000001', ''), ('52:54:ff:00:00:04', '', '', ''), ('52:54:ff:0:0:5 ', ' prod ', '1234 ', '')`)
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
				`3: bad MAC address "52:54:00:00:00:nonsense": not twelve hexadecimal digits; accepted are 52:54:00:00:00:b1, 52-54-00-00-00-b1, 5254.0000.00b1 and 5254000000b1`,
				`4: zerotier "8056c2e21c000001" is not a farmer id (1 to 4294967295)`,
				`5: no run mode`,
				`6: 52:54:ff:00:00:05 1234 prod ""`,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadLegacyNamesTheFile: it is the file that is at fault, not our database.
func TestReadLegacyNamesTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bootstrap.sqlite3")
	exec(t, file, `CREATE TABLE provision (client, branch, zerotier, kargs)`, `INSERT INTO provision VALUES ('525400000001', 'prod', '', '')`)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"half":        good[:len(good)/2],
		"header":      good[:100],
		"overwritten": append(good[:100:100], make([]byte, len(good)-100)...),
		"text":        []byte(strings.Repeat("x", 600)),
		"empty":       nil,
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		rows, err := ReadLegacy(t.Context(), file)
		if provisioning.ErrorCode(err) != provisioning.Invalid || !strings.HasPrefix(err.Error(), file+" is ") || strings.Contains(err.Error(), "backup") {
			t.Errorf("%s: %v, %v", name, rows, err)
		}
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
