package pages

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"farmboot/setup/docs"
)

// TestManual: every file of the manual is a page, and every link in it leads somewhere.
func TestManual(t *testing.T) {
	pages, err := readManual()
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(docs.Files, "*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(f, ".md"); !slices.Contains(docs.Order[:], name) {
			t.Errorf("%s is not in docs.Order", f)
		}
	}
	link := regexp.MustCompile(`href="([^"]*)"`)
	for name, p := range pages {
		if p.Title == "" || p.Text == "" {
			t.Errorf("%s is empty", name)
		}
		for _, m := range link.FindAllStringSubmatch(string(p.Text), -1) {
			target, local := strings.CutPrefix(m[1], "/help/")
			switch {
			case !local && strings.HasPrefix(m[1], "/api/v1/openapi.yaml"):
			case !local:
				t.Errorf("%s links to %s: a farm may have no Internet", name, m[1])
			default:
				subject, fragment, _ := strings.Cut(target, "#")
				page, ok := pages[subject]
				if !ok || fragment != "" && !strings.Contains(string(page.Text), `id="`+fragment+`"`) {
					t.Errorf("%s links to %s, which is not there", name, m[1])
				}
			}
		}
	}
	if _, _, err := renderMarkdown([]byte("no title")); err == nil {
		t.Error("a file without a title is taken")
	}
}
