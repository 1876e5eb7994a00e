package registry_test

import (
	"encoding/csv"
	"iter"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"farmboot/provisioning"
	"farmboot/provisioning/registry"
)

func TestReadCSVRefusesFiles(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"only a mark":      "\ufeff",
		"no mac":           "farmer,runmode\n",
		"unknown column":   "mac,colour\n",
		"column twice":     "mac,MAC\n",
		"UTF-16, no mark":  "m\x00a\x00c\x00\n\x00",
		"half a character": "\xff\xfem\x00a\x00c\x00\n",
	} {
		if rows, err := registry.ReadCSV(strings.NewReader(text)); provisioning.ErrorCode(err) != provisioning.Invalid {
			t.Errorf("%s: %v, %v, want a refusal", name, rows, err)
		}
	}
}

func TestReadCSVOfSpreadsheets(t *testing.T) {
	for _, text := range []string{
		"\ufeffMAC , Farmer\r\n525400000001, 7 \r\n",
		"\ufeff\"MAC\",\"Farmer\"\r\n\"525400000001\",\"7\"\r\n",
		"mac,farmer\n525400000001,7\n,\n , \n,,,,\n\"\"\n",
		"mac,farmer\r525400000001,7\r,\r",
		"mac,farmer,,\n525400000001,7,, \n",
	} {
		rows, err := registry.ReadCSV(strings.NewReader(text))
		if err != nil || len(rows) != 1 || rows[0].Err != nil || *rows[0].Patch.Farmer != 7 || rows[0].Line != 2 {
			t.Errorf("%q: rows %+v, %v", text, rows, err)
		}
	}
	for text, says := range map[string]string{
		"mac;farmer\n525400000001;7\n":              "separated by ; instead",
		"\"mac\";\"farmer\"\n":                      "separated by ; instead",
		"mac\tfarmer\n525400000001\t7\n":            "separated by tabs",
		"\ufeffmac;farmer\n":                        "separated by ; instead",
		"525400000001\n":                            "a node's",
		"sep=;\nmac;farmer\n":                       "separated by ; instead",
		"m\x00a\x00c\x00\n\x00":                     "UTF-16 without a byte order mark",
		"\x00m\x00a\x00c\x00\n":                     "UTF-16 without a byte order mark",
		"m\x00\x00\x00a\x00\x00\x00":                "is UTF-32",
		"\x00\x00\x00m\x00\x00\x00a":                "is UTF-32",
		"\xff\xfe\x00\x00m\x00\x00\x00":             "is UTF-32",
		"\x00\x00\xfe\xff\x00\x00\x00m":             "is UTF-32",
		`[{"mac":"525400000001"}]`:                  "begins as JSON does",
		"\ufeff{\n\"nodes\": []}\n":                 "begins as JSON does",
		"farmer,52-54-00-00-00-01\n":                "the first line is a node's, 52-54-00-00-00-01: put a line before it that names the columns",
		"mac|farmer\n":                              `unknown column "mac|farmer" in the first line`,
		"mac farmer\n":                              `unknown column "mac farmer" in the first line`,
		"MAC address,Farmer ID\n":                   `unknown column "mac address" in the first line`,
		"farmer-id,hwaddr\n":                        `unknown column "farmer-id" in the first line`,
		"52:54:00:00:00:0;5\n":                      "separated by ; instead",
		"52:54:00:00:00:0,5\n":                      "the first line is a node's, 52:54:00:00:00:0: put a line before it",
		"\"52:54:00:00:00\"\n":                      "the first line is a node's, 52:54:00:00:00: put a line before it",
		"#!/bin/sh\nexit\n":                         `no list of nodes: its first line is "#!/bin/sh"`,
		"Dear colleagues\n":                         `no list of nodes: its first line is "Dear colleagues"`,
		"mac,na\x00me\n":                            "no CSV text",
		"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR":       "no CSV text",
		"GIF89a\x01\x02,mac\n":                      "no CSV text",
		"\x1f\x8b\x08\x00\x00\x00\x00\x00":          "no CSV text",
		"mac,n\xe4me\n":                             "not UTF-8",
		"PK\x03\x04xxxx":                            "workbook",
		"\xff\xfem\x00a\x00c\x00\n\x00x":            "ends within a character of UTF-16",
		"\xff\xfem\x00a\x00c\x00\n\x005\x00\n\x00x": "ends within a character of UTF-16",
	} {
		if _, err := registry.ReadCSV(strings.NewReader(text)); provisioning.ErrorCode(err) != provisioning.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %s", text, err, says)
		}
	}
}

// TestReadCSVNamesTheSeparator: spreadsheets begin files with that, and lines count on.
func TestReadCSVNamesTheSeparator(t *testing.T) {
	for _, first := range []string{"sep=,\n", "\ufeff\"sep=,\"\r\n", "SEP=,\r"} {
		rows, err := registry.ReadCSV(strings.NewReader(first + "mac,farmer" + first[len(first)-1:] + "525400000001,7"))
		if err != nil || len(rows) != 1 || rows[0].Err != nil || rows[0].Line != 3 {
			t.Errorf("%q: %+v, %v", first, rows, err)
		}
	}
	rows, err := registry.ReadCSV(strings.NewReader("mac,\n525400000001,x\n525400000002,\n"))
	if err != nil || len(rows) != 2 || rows[0].Err == nil || rows[1].Err != nil {
		t.Errorf("a column without a name: %+v, %v", rows, err)
	}
}

// TestReadCSVOfOtherEncodings: UTF-16 is read, and of others the lines that are not ASCII
// are refused by name.
func TestReadCSVOfOtherEncodings(t *testing.T) {
	const text = "mac,name\r\n525400000001,Köln 🚜\r\n525400000002,\"a,b\"\r\n"
	little, big := "\xff\xfe", "\xfe\xff"
	for _, unit := range utf16.Encode([]rune(text)) {
		little += string([]byte{byte(unit), byte(unit >> 8)})
		big += string([]byte{byte(unit >> 8), byte(unit)})
	}
	for name, file := range map[string]string{"UTF-8": text, "little endian": little, "big endian": big} {
		rows, err := registry.ReadCSV(iotest.OneByteReader(strings.NewReader(file)))
		if err != nil || len(rows) != 2 || *rows[0].Patch.Name != "Köln 🚜" || *rows[1].Patch.Name != "a,b" || rows[1].Line != 3 {
			t.Errorf("%s: %+v, %v", name, rows, err)
		}
	}
	rows, err := registry.ReadCSV(strings.NewReader("mac,name\n525400000001,K\xf6ln\n525400000002,Bonn\n"))
	if err != nil || len(rows) != 2 || rows[0].Err == nil || !strings.Contains(rows[0].Err.Error(), "save it as CSV UTF-8") || rows[1].Err != nil {
		t.Errorf("Windows-1252: %+v, %v", rows, err)
	}
}

// TestReadCSVFaultsAreOfTheirLine: what is wrong in a cell fails no other line.
func TestReadCSVFaultsAreOfTheirLine(t *testing.T) {
	for _, bad := range []string{`525400000002,"x`, `525400000002,19" rack`, `525400000002,"x"y`, `525400000002`, `525400000002,x,y`, `5254,x`, "525400000002,\xff", `525400000002,` + strings.Repeat("x", 20000)} {
		rows, err := registry.ReadCSV(strings.NewReader("mac,name\n525400000001,a\n" + bad + "\n525400000003,c\n"))
		if err != nil || len(rows) != 3 || rows[0].Err != nil || rows[1].Err == nil || rows[1].Line != 3 || rows[2].Err != nil {
			t.Errorf("%.40q: %+v, %v", bad, rows, err)
		}
	}
}

// TestCSVHoldsNoFormula that a spreadsheet would calculate, and is read again as it was.
func TestCSVHoldsNoFormula(t *testing.T) {
	for text, field := range map[string]string{
		`=HYPERLINK("http://x")`: `'=HYPERLINK("http://x")`,
		"+1":                     "'+1",
		"-1":                     "'-1",
		"@SUM(A1)":               "'@SUM(A1)",
		"\t=1":                   "'\t=1",
		"\r=1":                   "'\r=1",
		"'=1":                    "''=1",
		"''=1":                   "'''=1",
		"'tis":                   "'tis",
		"'":                      "'",
		"a=1 -b":                 "a=1 -b",
		"ü":                      "ü",
		"":                       "",
	} {
		n := provisioning.Node{MAC: provisioning.MAC{2}, Args: text, Name: text}
		var b strings.Builder
		if err := registry.WriteCSV(&b, each([]provisioning.Node{n}), registry.Extra{}); err != nil {
			t.Fatal(err)
		}
		records, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
		if err != nil || records[1][3] != field || records[1][5] != field {
			t.Errorf("%q is written as %q, %v, want %q", text, records[1], err, field)
		}
		rows, err := registry.ReadCSV(strings.NewReader(b.String()))
		if err != nil || len(rows) != 1 || *rows[0].Patch.Args != text || *rows[0].Patch.Name != text {
			t.Errorf("%q is read as %+v, %v", text, rows, err)
		}
	}
}

// FuzzReadCSV reads anything, and writes the good lines of it, and reads them again:
// they say the same.
func FuzzReadCSV(f *testing.F) {
	f.Add("mac,farmer,runmode,args,kernel,name\n52:54:00:00:00:01,1234,prod,zos-debug,,one\n")
	f.Add("name,mac\n\"a \"\"b\"\"\",525400000002\nx\n")
	f.Add("\ufeffmac\r\n5254.0000.0003\r\n")
	f.Add("mac,name,args\n5254.0000.0004,'=1,''-x\n")
	f.Add("\ufeff\"mac\",name\r\n5254.0000.0003,\r\n,\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := registry.ReadCSV(strings.NewReader(text))
		if err != nil {
			if provisioning.ErrorCode(err) != provisioning.Invalid {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		var nodes []provisioning.Node
		for _, row := range rows {
			n := row.Patch.Apply(provisioning.Node{MAC: row.MAC, RunMode: "prod"})
			if row.Err == nil && !strings.ContainsAny(n.Args+n.Kernel+n.Name+string(n.RunMode), "\r") { // CSV does not keep it
				nodes = append(nodes, n)
			}
		}
		var b strings.Builder
		if err := registry.WriteCSV(&b, each(nodes), registry.Extra{Exit: true}); err != nil {
			t.Fatal(err)
		}
		again, err := registry.ReadCSV(strings.NewReader(b.String()))
		if err != nil {
			t.Fatal(err)
		}
		var same []provisioning.Node
		for _, row := range again {
			if row.Err != nil {
				t.Fatalf("line %d of\n%s\n%v", row.Line, b.String(), row.Err)
			}
			same = append(same, row.Patch.Apply(provisioning.Node{MAC: row.MAC}))
		}
		if diff := cmp.Diff(nodes, same); diff != "" {
			t.Errorf("written and read (-want +got):\n%s", diff)
		}
	})
}

// each goes through a list.
func each(nodes []provisioning.Node) iter.Seq2[provisioning.Node, error] {
	return func(yield func(provisioning.Node, error) bool) {
		for _, n := range nodes {
			if !yield(n, nil) {
				return
			}
		}
	}
}
