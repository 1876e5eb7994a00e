package api

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/rights"
)

// maxImport is the longest import, in bytes: some 800,000 nodes.
const maxImport = 64 << 20

// maxFarmerImport is that of a farmer, in bytes, who may import fewer.
const maxFarmerImport = 4 << 20

// importNodes answers POST /api/v1/nodes/import: many nodes, all or nothing, as CSV
// or as a JSON array.
func (a *API) importNodes(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	opt, err := importOptions(r)
	if err != nil {
		return err
	}
	if err := notAForm(r, "the list itself, as curl --data-binary @nodes.csv sends it"); err != nil {
		return err
	}
	most := int64(maxImport)
	if !rights.All(by) {
		most = maxFarmerImport
	}
	rows, err := readRows(answer.ExtendRead(w, http.MaxBytesReader(w, r.Body, most)))
	if err != nil {
		return cmp.Or(tooLarge(err), err)
	}
	report, err := a.Registry.Import(r.Context(), by, rows, opt)
	if report.Rows == nil { // the store's fault, not a line's
		return err
	}
	if err != nil && !opt.DryRun {
		return writeJSON(w, answer.StatusOf(provisioning.ErrorCode(err)), struct {
			Error  answer.Problem        `json:"error"`
			Report registry.ImportReport `json:"report"`
		}{answer.ProblemOf(err), report})
	}
	return writeJSON(w, http.StatusOK, report)
}

func importOptions(r *http.Request) (opt registry.ImportOptions, err error) {
	q := r.URL.Query()
	for name, to := range map[string]*bool{"dry-run": &opt.DryRun, "update": &opt.Update, "skip-refused": &opt.SkipRefused} {
		if *to, err = flag(q, name); err != nil {
			return opt, err
		}
	}
	return opt, nil
}

// readRows reads CSV or JSON. Which of them it is, its first character says: clients
// call a file what they like.
func readRows(from io.Reader) ([]provisioning.Row, error) {
	body := bufio.NewReader(from)
	head, _ := body.Peek(body.Size()) // or all that there is
	// PowerShell puts a byte order mark before both.
	text := bytes.TrimLeft(head, "\ufeff \t\r\n")
	if len(text) == 0 || text[0] != '[' && text[0] != '{' {
		return registry.ReadCSV(body)
	}
	_, _ = body.Discard(len(head) - len(text)) // it is in the buffer
	return readJSON(body)
}

// readJSON reads an array of nodes, one after the other. The "line" of a node is
// its place in the array, from 1. What is wrong in a node concerns that node only;
// the error is that of the whole.
func readJSON(from io.Reader) ([]provisioning.Row, error) {
	dec := json.NewDecoder(from)
	if t, err := dec.Token(); err != nil {
		return nil, explain(err, nil)
	} else if t != json.Delim('[') {
		return nil, provisioning.Errorf(provisioning.Invalid, "bad JSON: an array of nodes is expected")
	}
	var rows []provisioning.Row
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, explain(cut(err), nil)
		}
		if len(rows) == provisioning.MaxRows {
			return nil, provisioning.Errorf(provisioning.Invalid, "more than %d nodes: import them in parts", provisioning.MaxRows)
		}
		rows = append(rows, rowOf(len(rows)+1, raw))
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return nil, explain(cut(err), nil)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, provisioning.Errorf(provisioning.Invalid, "bad JSON: something follows the array")
	}
	return rows, nil
}

// cut makes of the end of a text the error that it is in the middle of an array.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// rowOf reads one node of an import.
func rowOf(line int, raw json.RawMessage) provisioning.Row {
	var body nodeBody
	err := decode(bytes.NewReader(raw), &body)
	if err == nil && body.MAC.IsZero() {
		err = provisioning.Errorf(provisioning.Invalid, "a node needs its MAC address")
	}
	return provisioning.Row{Line: line, MAC: body.MAC, Patch: body.NodePatch, Err: err}
}
