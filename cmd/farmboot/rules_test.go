package main_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tests here hold the whole module to the review list in CONTRIBUTING.md, as far as
// a program can.

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

// TestRightsDecides: what an actor may do is asked of package rights. Nobody else compares
// his role.
func TestRightsDecides(t *testing.T) {
	fset, files := source(t)
	role := func(e ast.Expr, of string) bool {
		s, ok := e.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		x, ok := s.X.(*ast.Ident)
		return ok && x.Name == of && strings.HasPrefix(s.Sel.Name, "Role")
	}
	for _, f := range files {
		if f.test || f.pkg == "provisioning/rights" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if role(n.X, "by") && role(n.Y, "provisioning") || role(n.X, "provisioning") && role(n.Y, "by") {
					t.Errorf("%s: ask package rights what an actor may do", fset.Position(n.Pos()))
				}
			case *ast.SwitchStmt:
				if n.Tag != nil && role(n.Tag, "by") {
					t.Errorf("%s: ask package rights what an actor may do", fset.Position(n.Pos()))
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
	target := regexp.MustCompile(`^([a-z0-9-]+):[^#]*## `)
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

// TestFaultsHaveTests: each test that CONTRIBUTING.md's table of faults names is there.
func TestFaultsHaveTests(t *testing.T) {
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| fault | tests |\n")
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			break
		}
		if strings.HasPrefix(cells[1], " **") || strings.HasPrefix(cells[1], "---") {
			continue
		}
		rows++
		tests := regexp.MustCompile("`([a-z0-9/]+) ((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(cells[2], -1)
		if len(tests) == 0 || len(tests) != strings.Count(cells[2], "`")/2 {
			t.Errorf("no tests, or not all, in %q", line)
		}
		for _, m := range tests {
			if !hasTest(t, m[1], m[2]) {
				t.Errorf("%s: there is no %s in %s", strings.TrimSpace(cells[1]), m[2], m[1])
			}
		}
	}
	if rows < 40 {
		t.Errorf("%d faults alone were found", rows)
	}
}

// hasTest tells whether a folder has a test.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "\nfunc "+name+"(")
	})
}
