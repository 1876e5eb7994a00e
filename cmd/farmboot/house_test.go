package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tests here check which package imports which.

const module = "farmboot"

// sourceFile is a parsed Go file of the module.
type sourceFile struct {
	path string // relative to the root
	pkg  string // folder, relative to the root
	test bool
	ast  *ast.File
}

// source parses all Go files of the module.
func source(t *testing.T) (*token.FileSet, []sourceFile) {
	t.Helper()
	fset := token.NewFileSet()
	var files []sourceFile
	walk(t, func(name string, text []byte) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, sourceFile{path: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), ast: f})
	})
	return fset, files
}

// walk calls visit with every file of the module, but for what tools wrote.
func walk(t *testing.T, visit func(name string, text []byte)) {
	t.Helper()
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains([]string{".git", "bin", "dist", "state"}, name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil // .git is a file in a linked worktree
		}
		if d.IsDir() {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err == nil {
			visit(name, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// imports is, for each package of ours, which of ours it may import; tests may import
// more. "a…" is a and all below it, "a/…" all below a. ARCHITECTURE.md shows the same
// table, with a sentence for each package.
var imports = []struct {
	pkg string
	may []string
}{
	{"cmd/farmboot", []string{"…"}},
	{"cmd/farmboot/e2e", nil},
	{"http", []string{"http/admission", "http/answer", "ipxe…", "provisioning", "provisioning/filenames"}},
	{"http/admission", []string{"provisioning", "provisioning/lru"}},
	{"http/pages", []string{"http/authn", "http/answer", "ipxe…", "provisioning", "provisioning/cause", "provisioning/human", "provisioning/live", "provisioning/registry", "provisioning/rights", "provisioning/story", "setup/docs"}},
	{"http/api", []string{"http/authn", "http/answer", "ipxe", "ipxe/kernel", "ipxe/rollout", "provisioning", "provisioning/cause", "provisioning/registry", "provisioning/rights"}},
	{"http/authn", []string{"http/answer", "provisioning", "provisioning/limiter", "provisioning/ordinary", "provisioning/registry"}},
	{"http/answer", []string{"provisioning"}},
	{"tftp", []string{"provisioning", "provisioning/pause"}},
	{"dhcp", []string{"provisioning", "provisioning/filenames", "provisioning/limiter", "provisioning/pause"}},
	{"dhcp/fakeclient", nil},
	{"setup", []string{"setup/alert", "ipxe", "ipxe/upstream", "provisioning", "provisioning/ordinary", "provisioning/typo"}},
	{"setup/ca", []string{"provisioning", "provisioning/atomicfile", "provisioning/logonce", "provisioning/ordinary", "provisioning/owner"}},
	{"setup/lan", []string{"setup", "provisioning/pause"}},
	{"setup/templatetest", nil},
	{"setup/secureboot", []string{"setup/ca", "ipxe/binary/authenticode", "provisioning", "provisioning/atomicfile", "provisioning/filenames", "provisioning/owner"}},
	{"setup/packaging", nil},
	{"setup/oui", []string{"provisioning"}},
	{"setup/docs", nil},
	{"setup/alert", []string{"provisioning/pause"}},
	{"setup/doctor", []string{"setup", "setup/ca", "setup/secureboot", "setup/doctor/firewall", "dhcp", "dhcp/fakeclient", "ipxe…", "provisioning", "provisioning/cause", "provisioning/filenames", "provisioning/installed"}},
	{"setup/doctor/firewall", nil},
	{"setup/lab", nil},
	{"setup/needs", nil},
	{"setup/wol", []string{"provisioning", "provisioning/pause"}},
	{"setup/bench", []string{"setup/lab", "dhcp/fakeclient"}},
	{"setup/lab/demo", []string{"setup/lab"}},
	{"ipxe", []string{"ipxe/kernel", "provisioning", "provisioning/cause", "provisioning/human", "provisioning/lru", "provisioning/typo"}},
	{"ipxe/catalog", []string{"ipxe", "ipxe/binary", "ipxe/image", "ipxe/kernel", "ipxe/segment", "provisioning", "provisioning/filenames"}},
	{"ipxe/kernel", []string{"provisioning", "provisioning/atomicfile", "provisioning/cause", "provisioning/owner", "provisioning/rights"}},
	{"ipxe/kernel/kerneltest", []string{"provisioning"}},
	{"ipxe/rollout", []string{"ipxe/kernel", "provisioning", "provisioning/pause"}},
	{"ipxe/upstream", []string{"ipxe/kernel", "provisioning", "provisioning/atomicfile", "provisioning/logonce", "provisioning/pause"}},
	{"ipxe/kernel/signed", []string{"ipxe/binary/authenticode", "ipxe/kernel", "provisioning", "provisioning/atomicfile", "provisioning/owner"}},
	{"ipxe/image", []string{"ipxe/binary", "ipxe/image/…", "ipxe/segment", "provisioning", "provisioning/filenames"}},
	{"ipxe/image/fat", []string{"ipxe/segment", "ipxe/image/mbr"}},
	{"ipxe/image/iso9660", []string{"ipxe/segment", "ipxe/image/mbr"}},
	{"ipxe/image/gpt", []string{"ipxe/segment", "ipxe/image/mbr"}},
	{"ipxe/image/mbr", []string{"ipxe/segment", "ipxe/image/mbr"}},
	{"ipxe/image/oracle", []string{"ipxe/segment", "setup/needs"}},
	{"ipxe/binary", []string{"ipxe/binary/…", "ipxe/image/iso9660", "ipxe/segment", "provisioning", "provisioning/filenames", "provisioning/installed"}},
	{"ipxe/binary/pe", []string{"ipxe/segment"}},
	{"ipxe/binary/bzimage", []string{"ipxe/segment"}},
	{"ipxe/binary/nbp", []string{"ipxe/segment"}},
	{"ipxe/binary/lzma", []string{"ipxe/segment"}},
	{"ipxe/binary/authenticode", []string{"ipxe/segment"}},
	{"ipxe/segment", nil},
	{"provisioning/atomicfile", []string{"provisioning/owner"}},
	{"provisioning/owner", nil},
	{"provisioning/ordinary", []string{"provisioning"}},
	{"provisioning/typo", nil},
	{"provisioning/human", nil},
	{"provisioning/installed", nil},
	{"provisioning/pause", nil},
	{"provisioning/logonce", []string{"provisioning"}},
	{"provisioning/boots", []string{"provisioning", "provisioning/lru", "provisioning/story"}},
	{"provisioning/live", []string{"provisioning", "provisioning/pause", "provisioning/story"}},
	{"provisioning/recorder", []string{"provisioning", "provisioning/boots", "provisioning/cause", "provisioning/logonce", "provisioning/limiter", "provisioning/lru"}},
	{"provisioning/rights", []string{"provisioning"}},
	{"provisioning/registry", []string{"provisioning", "provisioning/boots", "provisioning/limiter", "provisioning/rights", "provisioning/story"}},
	{"provisioning/story", []string{"provisioning", "provisioning/filenames", "provisioning/cause", "provisioning/human"}},
	{"provisioning/cause", []string{"provisioning", "provisioning/installed"}},
	{"provisioning/lru", nil},
	{"provisioning/filenames", nil},
	{"provisioning/limiter", []string{"provisioning/lru"}},
	{"provisioning", []string{"provisioning/lru"}},
	{"provisioning/sqlite", []string{"provisioning", "provisioning/atomicfile", "provisioning/ordinary", "provisioning/owner", "provisioning/sqlstore"}},
	{"provisioning/postgres", []string{"provisioning", "provisioning/owner", "provisioning/pause", "provisioning/sqlstore"}},
	{"provisioning/postgres/postgrestest", []string{"setup/needs"}},
	{"provisioning/sqlstore", []string{"provisioning", "provisioning/boots"}},
	{"provisioning/farm", []string{"provisioning", "provisioning/lru", "provisioning/story"}},
	{"provisioning/storetest", []string{"provisioning", "provisioning/boots", "provisioning/sqlite"}},
}

func allowed(may []string, pkg string) bool {
	return slices.ContainsFunc(may, func(pattern string) bool {
		prefix, isPrefix := strings.CutSuffix(pattern, "…")
		if !isPrefix {
			return pkg == pattern
		}
		return prefix == "" || pkg == prefix || strings.HasPrefix(pkg, strings.TrimSuffix(prefix, "/")+"/")
	})
}

func TestAllowed(t *testing.T) {
	if !allowed([]string{"…"}, "any/thing") {
		t.Error("everything does not include any/thing")
	}
	may := []string{"a", "b…", "c/…"}
	for pkg, want := range map[string]bool{"a": true, "a/x": false, "b": true, "b/x": true, "bx": false, "c/x": true, "c": false, "d": false} {
		if got := allowed(may, pkg); got != want {
			t.Errorf("%v allows %s: %v", may, pkg, got)
		}
	}
}

func TestImportsPointDownwards(t *testing.T) {
	may := make(map[string][]string)
	for _, row := range imports {
		may[row.pkg] = row.may
	}
	_, files := source(t)
	for _, f := range files {
		allowedHere, known := may[f.pkg]
		if !known {
			t.Errorf("package %s is not in the table of house_test.go", f.pkg)
			may[f.pkg] = []string{"…"} // once is enough
			continue
		}
		for _, i := range f.ast.Imports {
			ours, isOurs := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module+"/")
			if isOurs && !f.test && !allowed(allowedHere, ours) {
				t.Errorf("%s imports %s: %s may import only %q of ours", f.path, ours, f.pkg, allowedHere)
			}
		}
	}
}

// TestArchitectureShowsTheTable: ARCHITECTURE.md has a row for each package, which
// names what it may import.
func TestArchitectureShowsTheTable(t *testing.T) {
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `") {
			shown++
		}
	}
	if shown != len(imports) {
		t.Errorf("ARCHITECTURE.md has %d packages in its table, house_test.go has %d", shown, len(imports))
	}
	for _, row := range imports {
		may := "nothing"
		if len(row.may) > 0 {
			may = "`" + strings.Join(row.may, "`, `") + "`"
		}
		re := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(row.pkg) + "` \\| .* \\| " + regexp.QuoteMeta(may) + " \\|$")
		if !re.Match(text) {
			t.Errorf("ARCHITECTURE.md: no row | `%s` | one sentence | %s |", row.pkg, may)
		}
	}
}

// exclusive lists what only these packages, and those below them, may import.
var exclusive = map[string][]string{
	"github.com/mattn/go-sqlite3":     {"provisioning/sqlite"},
	"github.com/jackc/pgx/v5":         {"provisioning/postgres"},
	"github.com/pin/tftp/v3":          {"tftp", "setup/doctor"},
	"github.com/gorilla/mux":          {"http"},
	"github.com/pelletier/go-toml/v2": {"setup"},
	"github.com/alecthomas/kong":      {"cmd/farmboot"},
	"github.com/insomniacslk/dhcp":    {"dhcp", "setup/doctor"},
	"github.com/coreos/go-oidc/v3":    {"http/authn"},
	"golang.org/x/oauth2":             {"http/authn"},
}

func TestOneHomeForEachLibrary(t *testing.T) {
	within := func(pkg, parent string) bool { return pkg == parent || strings.HasPrefix(pkg, parent+"/") }
	_, files := source(t)
	for _, f := range files {
		for _, i := range f.ast.Imports {
			imported := strings.Trim(i.Path.Value, `"`)
			for library, homes := range exclusive {
				if within(imported, library) && !f.test && !slices.ContainsFunc(homes, func(home string) bool { return within(f.pkg, home) }) {
					t.Errorf("%s imports %s, which only %s may", f.path, imported, strings.Join(homes, ", "))
				}
			}
		}
	}
}

// TestReadmeBeginsWithHowToRun: a stranger needs two commands, and sees them first.
func TestReadmeBeginsWithHowToRun(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```sh\n")
	block, _, _ := strings.Cut(rest, "```")
	lines := strings.Split(strings.TrimSpace(block), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "make run ") || !strings.HasPrefix(lines[1], "make test ") {
		t.Errorf("the first code block of README.md is not make run and make test alone:\n%s", block)
	}
}
