package main_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The tests here hold the whole module to its own rules: the table of packages in
// ARCHITECTURE.md and the review list in CONTRIBUTING.md.

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
		if slices.Contains([]string{".git", "bin", "state"}, name) {
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

// rule is a row of the table in ARCHITECTURE.md: the packages that a package may
// import. A pattern "a…" stands for a and all below it, "a/…" for all below a.
type rule []string

func (r rule) allows(pkg string) bool {
	return slices.ContainsFunc(r, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "…"); ok {
			return prefix == "" || pkg == prefix || strings.HasPrefix(pkg, strings.TrimSuffix(prefix, "/")+"/")
		}
		return pkg == pattern
	})
}

var quoted = regexp.MustCompile("`([^`]+)`")

// rules reads the table: package, sentence, may import.
func rules(t *testing.T) map[string]rule {
	t.Helper()
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string]rule)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		var may rule
		if strings.HasPrefix(strings.TrimSpace(cells[3]), "everything") {
			may = rule{"…"}
		}
		for part := range strings.SplitSeq(cells[3], ",") {
			if strings.Contains(part, "only in tests") {
				continue
			}
			for _, q := range quoted.FindAllStringSubmatch(part, -1) {
				may = append(may, q[1])
			}
		}
		for _, q := range quoted.FindAllStringSubmatch(cells[1], -1) {
			for _, pkg := range expand(q[1]) {
				table[pkg] = may
			}
		}
	}
	if len(table) < 10 {
		t.Fatalf("ARCHITECTURE.md: found %d packages in its table", len(table))
	}
	return table
}

// expand writes a/{b,c} as a/b and a/c.
func expand(s string) []string {
	before, rest, ok := strings.Cut(s, "{")
	if !ok {
		return []string{s}
	}
	list, after, _ := strings.Cut(rest, "}")
	var all []string
	for e := range strings.SplitSeq(list, ",") {
		all = append(all, before+e+after)
	}
	return all
}

func TestImportsPointDownwards(t *testing.T) {
	table := rules(t)
	_, files := source(t)
	homeless := make(map[string]bool)
	for _, f := range files {
		may, known := table[f.pkg]
		if f.test {
			continue
		}
		if !known {
			homeless[f.pkg] = true
			continue
		}
		for _, i := range f.ast.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok && !may.allows(ours) {
				t.Errorf("%s imports %s: ARCHITECTURE.md allows %s to import %s", f.path, ours, f.pkg, list(may))
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(homeless)) {
		t.Errorf("package %s is not in the table of ARCHITECTURE.md", pkg)
	}
}

func list(may rule) string {
	if len(may) == 0 {
		return "nothing of ours"
	}
	return strings.Join(may, ", ")
}

func TestRuleAllows(t *testing.T) {
	r := rule{"a", "b…", "c/…"}
	if !(rule{"…"}).allows("any/thing") {
		t.Error("everything does not include any/thing")
	}
	for pkg, want := range map[string]bool{"a": true, "a/x": false, "b": true, "b/x": true, "bx": false, "c/x": true, "d": false} {
		if got := r.allows(pkg); got != want {
			t.Errorf("%v allows %s: %v", r, pkg, got)
		}
	}
}

// exclusive lists what only these packages, and those below them, may import.
var exclusive = map[string][]string{
	"github.com/mattn/go-sqlite3":     {"provisioning/sqlite"},
	"github.com/jackc/pgx/v5":         {"provisioning/postgres"},
	"github.com/pin/tftp/v3":          {"tftp"},
	"github.com/gorilla/mux":          {"http"},
	"github.com/pelletier/go-toml/v2": {"setup"},
	"github.com/alecthomas/kong":      {"cmd/farmboot"},
	"github.com/insomniacslk/dhcp":    {"dhcp", "setup/doctor"},
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

// TestNoHiddenState: no init functions, no registries and defaults of the whole
// process, and tests that neither wait for a time nor leave themselves out.
func TestNoHiddenState(t *testing.T) {
	never := []string{"slog.Default", "slog.SetDefault", "http.DefaultServeMux", "http.HandleFunc", "prometheus.DefaultRegisterer", "prometheus.MustRegister", "os.Setenv"}
	neverInTests := []string{"time.Sleep", "t.Skip", "t.Skipf", "t.SkipNow", "b.Skip", "f.Skip"}
	fset, files := source(t)
	for _, f := range files {
		bubbled := slices.ContainsFunc(f.ast.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil {
					t.Errorf("%s: func init", fset.Position(n.Pos()))
				}
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				name := x.Name + "." + n.Sel.Name
				if name == "time.Sleep" && bubbled {
					break // takes no time in a bubble
				}
				if slices.Contains(never, name) || f.test && slices.Contains(neverInTests, name) {
					t.Errorf("%s: %s", fset.Position(n.Pos()), name)
				}
			}
			return true
		})
	}
}

// TestPackagesAreDocumented: each package says in one sentence what it does.
func TestPackagesAreDocumented(t *testing.T) {
	_, files := source(t)
	comment := make(map[string]string)
	for _, f := range files {
		if !f.test {
			comment[f.pkg] += f.ast.Doc.Text()
		}
	}
	for _, f := range files {
		if f.test {
			continue
		}
		begin := "Package " + f.ast.Name.Name + " "
		if f.ast.Name.Name == "main" {
			begin = "Command " + path.Base(f.pkg) + " "
		}
		if !strings.HasPrefix(comment[f.pkg], begin) {
			t.Errorf("%s: the package comment does not begin with %q", f.pkg, begin)
			comment[f.pkg] = begin // once is enough
		}
	}
}

// TestTextIsFinished: no notes to ourselves, and no path of the machine that
// something was written on, in any file.
func TestTextIsFinished(t *testing.T) {
	var unfinished []*regexp.Regexp
	for _, s := range []string{`\bTO` + `DO\b`, `\bFIX` + `ME\b`, `\bX` + `XX\b`, `/wo` + `rk/`, `/tmp/ip` + `xe`} {
		unfinished = append(unfinished, regexp.MustCompile(s))
	}
	walk(t, func(name string, text []byte) {
		if filepath.Ext(name) == ".sum" || bytes.IndexByte(text, 0) >= 0 {
			return
		}
		for _, re := range unfinished {
			if at := re.FindIndex(text); at != nil {
				t.Errorf("%s:%d: %s", name, 1+bytes.Count(text[:at[0]], []byte("\n")), text[at[0]:at[1]])
			}
		}
	})
}

// TestMakefileTargetsAreExplained keeps "make help" complete.
func TestMakefileTargetsAreExplained(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var phony []string
	explained := make(map[string]bool)
	target := regexp.MustCompile(`^([a-z0-9]+):[^#]*## `)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, ".PHONY: "); ok {
			phony = strings.Fields(rest)
		}
		if m := target.FindStringSubmatch(line); m != nil {
			explained[m[1]] = true
		}
	}
	got := fmt.Sprint(slices.Sorted(maps.Keys(explained)))
	slices.Sort(phony)
	if want := fmt.Sprint(phony); got != want || len(phony) == 0 {
		t.Errorf("Makefile: .PHONY has %s, but explained with ## are %s", want, got)
	}
}
