package pages

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/provisioning/human"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/rights"
)

// maxImport is the longest list that is read, in bytes: some 100,000 nodes.
const maxImport = 8 << 20

// importPage is /admin/nodes/import.
type importPage struct {
	frame
	form
	Networks []choice
	Kernels  []choice
	Farmer   provisioning.FarmerID // whose nodes they become; 0: as the form says
	Report   *registry.ImportReport
	Refused  []registry.ImportedRow // the first of them
	Warned   []registry.ImportedRow // the first lines that are probably mistaken
}

// Leave is what an empty choice means for the nodes of a list.
func (importPage) Leave() string { return theDefault }

// TakesAway tells whether an import takes things away that it does not name.
func (importPage) TakesAway() bool { return false }

// rowsShown is how many refused lines are shown, and how many with warnings.
const rowsShown = 200

func (a *Admin) importPage(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	return a.showImport(w, r, by, http.StatusOK, importPage{form: newForm(url.Values{})})
}

func (a *Admin) showImport(w http.ResponseWriter, r *http.Request, by provisioning.Actor, status int, page importPage) (err error) {
	page.frame = adminFrame(r, by, "nodes")
	page.Farmer = rights.Bound(by)
	if page.Networks, page.Kernels, err = a.nodeChoices(r); err != nil {
		return err
	}
	return render(w, status, "import", page)
}

// importNodes registers many nodes, all or nothing, or tells what would become of
// them.
func (a *Admin) importNodes(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	f, err := readImport(w, r)
	if err != nil {
		return err
	}
	page := importPage{form: f}
	rows := a.readRows(r, f)
	if len(f.Errors) > 0 {
		return a.showImport(w, r, by, http.StatusBadRequest, page)
	}
	report, err := a.Registry.Import(r.Context(), by, rows, registry.ImportOptions{
		Update: f.Text("update") != "", DryRun: f.Text("action") != "import",
	})
	if message, ok := notice(err); !ok || err != nil && report.Rows == nil {
		if !ok {
			return err
		}
		f.Errors["list"] = message
		return a.showImport(w, r, by, http.StatusBadRequest, page)
	}
	page.Report = &report
	for _, row := range report.Rows {
		if row.Outcome == registry.Refused && len(page.Refused) < rowsShown {
			page.Refused = append(page.Refused, row)
		}
		if len(row.Warnings) > 0 && len(page.Warned) < rowsShown {
			page.Warned = append(page.Warned, row)
		}
	}
	if report.Written && len(page.Warned) == 0 {
		return done(w, r, "/admin/nodes", "nodes-imported")
	}
	if report.Written {
		page.form = newForm(url.Values{}) // it is done; only its warnings are left
	}
	status := http.StatusOK
	if len(page.Refused) > 0 {
		status = http.StatusBadRequest
	}
	return a.showImport(w, r, by, status, page)
}

// readRows reads the list: CSV with a header, or MAC addresses that all become what
// the other fields say.
func (a *Admin) readRows(r *http.Request, f form) []provisioning.Row {
	text := f.Get("list")
	if strings.TrimSpace(text) == "" {
		f.Errors["list"] = "paste a list, or choose a file"
		return nil
	}
	if !isList(text) {
		rows, err := registry.ReadCSV(strings.NewReader(text))
		if err != nil {
			f.Errors["list"] = answer.PublicMessage(err)
		}
		return rows
	}
	patch := a.readPatch(r, f)
	var rows []provisioning.Row
	line := 0
	for l := range strings.Lines(text) {
		line++
		for word := range strings.FieldsFuncSeq(l, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;", r) }) {
			row := provisioning.Row{Line: line, Patch: patch}
			row.Err = row.Set("mac", word)
			rows = append(rows, row)
		}
	}
	return rows
}

// readImport reads the form, with the text of its file in place of the list if
// there is one.
func readImport(w http.ResponseWriter, r *http.Request) (form, error) {
	broken := provisioning.Errorf(provisioning.Invalid, "this form cannot be read: it is longer than %s, or broke off", human.Bytes(maxImport))
	r.Body = io.NopCloser(answer.ExtendRead(w, http.MaxBytesReader(w, r.Body, maxImport)))
	parts, err := r.MultipartReader()
	if err != nil {
		return readForm(w, r)
	}
	f := newForm(url.Values{})
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return f, nil
		}
		if err != nil {
			return f, broken
		}
		text, err := readPart(part)
		if err != nil {
			return f, broken
		}
		if part.FormName() == "file" {
			if text != "" {
				f.Set("list", text)
			}
			continue
		}
		f.Add(part.FormName(), text)
	}
}

func readPart(part *multipart.Part) (string, error) {
	var b bytes.Buffer
	_, err := b.ReadFrom(part)
	return b.String(), err
}
