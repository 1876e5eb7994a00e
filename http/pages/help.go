package pages

import (
	"bytes"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"sync"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/setup/docs"
)

// helpPage is a subject of the manual.
type helpPage struct {
	frame
	Name     string // of its file, without ".md"; "": the list of all
	Title    string
	Text     template.HTML
	Subjects []helpPage
}

// manual is the manual as pages, by name. It is made when somebody reads it first.
var manual = sync.OnceValues(readManual)

// readManual turns the manual's files into pages.
func readManual() (map[string]helpPage, error) {
	pages := make(map[string]helpPage)
	for _, name := range docs.Order {
		source, err := fs.ReadFile(docs.Files, name+".md")
		if err != nil {
			return nil, err
		}
		p := helpPage{frame: frame{Section: "help"}, Name: name}
		if p.Title, p.Text, err = renderMarkdown(source); err != nil {
			return nil, fmt.Errorf("%s.md: %w", name, err)
		}
		pages[name] = p
	}
	for name, p := range pages {
		for _, subject := range docs.Order {
			p.Subjects = append(p.Subjects, helpPage{Name: subject, Title: pages[subject].Title})
		}
		pages[name] = p
	}
	return pages, nil
}

// renderMarkdown returns the first heading of a text, and the rest as HTML. Links to
// other files of the manual become links to their pages.
func renderMarkdown(source []byte) (title string, html template.HTML, err error) {
	md := goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithAttribute()))
	root := md.Parser().Parse(text.NewReader(source))
	heading, ok := root.FirstChild().(*ast.Heading)
	if !ok || heading.Level != 1 {
		return "", "", fmt.Errorf("it does not begin with a title")
	}
	title = string(heading.Lines().Value(source))
	root.RemoveChild(root, heading)
	err = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, ok := n.(*ast.Link); ok && entering {
			file, fragment, found := strings.Cut(string(link.Destination), "#")
			if name, local := strings.CutSuffix(file, ".md"); local {
				link.Destination = []byte("/help/" + name)
				if found {
					link.Destination = append(link.Destination, "#"+fragment...)
				}
			}
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return "", "", err
	}
	var b bytes.Buffer
	if err := md.Renderer().Render(&b, source, root); err != nil {
		return "", "", err
	}
	return title, template.HTML(b.String()), nil // ours: it is compiled in
}

// help answers /help and /help/NAME: a subject of the manual, or the symptom of that
// name, such as a node's screen names.
func (p *Pages) help(w http.ResponseWriter, r *http.Request) error {
	name, err := answer.Var(r, "name")
	if err != nil {
		return err
	}
	pages, err := manual()
	if err != nil {
		return err
	}
	name = strings.TrimPrefix(name, "/")
	page, ok := pages[name]
	switch {
	case ok:
	case name == "":
		page = helpPage{frame: frame{Section: "help"}, Title: "Help", Subjects: pages[docs.Order[0]].Subjects}
	case strings.Contains(string(pages["symptoms"].Text), fmt.Sprintf("id=%q", name)):
		http.Redirect(w, r, "/help/symptoms#"+name, http.StatusFound)
		return nil
	default:
		return provisioning.Errorf(provisioning.NotFound, "the manual has nothing about %.40q", name)
	}
	return render(w, http.StatusOK, "help", page)
}
