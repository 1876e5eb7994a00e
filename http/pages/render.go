package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/provisioning/human"
	"farmboot/provisioning/rights"
)

//go:embed templates
var templateFiles embed.FS

// templates are the pages by name, each with the layout around it; parsed when the first
// page is asked for, which most commands never do (25 ms and 4 MB), and read-only from then
// on.
var templates = sync.OnceValue(func() map[string]*template.Template {
	return mustParse(fs.Sub(templateFiles, "templates"))
})

func mustParse(files fs.FS, err error) map[string]*template.Template {
	if err != nil {
		panic(err)
	}
	shared := template.Must(template.New("").Option("missingkey=error").Funcs(template.FuncMap{
		"asset": assetURL, "bytes": human.Bytes, "groups": groups, "time": timeOf, "duration": human.Duration,
		"digits": digits, "rate": human.Rate, "words": wordsFor, "pick": pick, "blank": blank, "word": fieldWord,
	}).ParseFS(files, "layout.html", "part-*.html"))
	names, err := fs.Glob(files, "*.html")
	if err != nil {
		panic(err)
	}
	all := map[string]*template.Template{}
	for _, name := range names {
		if name == "layout.html" || strings.HasPrefix(name, "part-") {
			continue
		}
		all[stem(name)] = template.Must(template.Must(shared.Clone()).ParseFS(files, name))
	}
	return all
}

// picked is a select's choices, and which of them is chosen.
type picked struct {
	Value   string
	Choices []choice
}

func pick(value string, choices []choice) picked { return picked{value, choices} }

// blank is a page whose other form was sent: this one has its fields empty.
func blank(page nodesPage) nodesPage {
	page.form = newForm(nil)
	return page
}

// stem is a file name without its extension.
func stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// frame is what every page has.
type frame struct {
	Section string              // which entry of the navigation this page belongs to
	Here    string              // which entry of the admin pages' own navigation
	Actor   *provisioning.Actor // who is signed in; nil: nobody
	Done    string              // what the last form did, for the status line; empty: nothing
}

// All tells whether who looks may see everything, and is shown the way there.
func (f frame) All() bool { return f.Actor != nil && rights.All(*f.Actor) }

// Changes tells whether who looks may change anything, and is shown forms for it.
func (f frame) Changes() bool { return f.Actor != nil && rights.Change(*f.Actor) == nil }

// policy is the Content-Security-Policy of every page: nothing but our own static
// files and, for the live parts, our own API.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// render writes a page.
func render(w http.ResponseWriter, status int, page string, data any) error {
	return execute(w, status, page, "layout", data)
}

// renderPart writes a part of a page, for the script that puts it there.
func renderPart(w http.ResponseWriter, page, part string, data any) error {
	return execute(w, http.StatusOK, page, part, data)
}

// execute writes what a template makes, whole: one that fails half-way shows
// nothing of it.
func execute(w http.ResponseWriter, status int, page, part string, data any) error {
	t, ok := templates()[page]
	if !ok {
		return fmt.Errorf("no page %q", page)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, part, data); err != nil {
		return fmt.Errorf("render page %s: %w", page, err)
	}
	setHeaders(w.Header())
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

func setHeaders(h http.Header) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// failurePage is the page of a refusal.
type failurePage struct {
	frame
	Status  int
	Message string
}

// failure is the [answer.Failure] of pages.
func failure(w http.ResponseWriter, r *http.Request, err error) {
	code := provisioning.ErrorCode(err)
	data := failurePage{Status: answer.StatusOf(code), Message: answer.PublicMessage(err)}
	if r.URL.Path == "/admin" || strings.HasPrefix(r.URL.Path, "/admin/") {
		data.Section = "admin"
	}
	if err := render(w, data.Status, "failure", data); err != nil {
		answer.Plain(w, r, err)
	}
}

// notice is the message of a refusal for the page that asked; ok is false for
// faults of ours, which are for the log.
func notice(err error) (message string, ok bool) {
	if err == nil {
		return "", true
	}
	code := provisioning.ErrorCode(err)
	return answer.PublicMessage(err), code != provisioning.Internal
}
