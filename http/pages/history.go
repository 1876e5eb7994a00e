package pages

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"farmboot/provisioning"
)

// historyShown is how many changes are read, and historySize how many a page has.
const (
	historyShown = 5000
	historySize  = 200
)

// historyPage is /admin/history.
type historyPage struct {
	frame
	Lines []historyLine
	Pager pager
}

// historyLine is a change as pages show it.
type historyLine struct {
	At          time.Time
	Actor, From string
	Action      string
	Subject     string
	URL         string // of the subject's page; "": it has none
	Fields      []changedField
	Added, Gone bool
}

// changedField is what became of one field.
type changedField struct{ Name, Before, After string }

func (a *Admin) history(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	changes, err := a.Registry.History(r.Context(), by, historyShown)
	if err != nil {
		return err
	}
	page := historyPage{frame: adminFrame(r, by, "history")}
	var shown []provisioning.Change
	page.Pager, shown = paged(r.URL, changes, historySize)
	page.Lines = historyLines(shown)
	return render(w, http.StatusOK, "history", page)
}

func historyLines(changes []provisioning.Change) []historyLine {
	lines := make([]historyLine, len(changes))
	for i, c := range changes {
		lines[i] = historyLine{
			At: c.At, Actor: c.Actor, From: c.From, Action: c.Action, Subject: c.Subject,
			Fields: difference(c.Before, c.After), Added: c.Before == nil, Gone: c.After == nil,
		}
		if strings.HasPrefix(c.Action, "node ") {
			lines[i].URL = "/admin/nodes/" + c.Subject
		}
	}
	return lines
}

// difference lists the fields of two JSON objects that differ, by name.
func difference(before, after json.RawMessage) []changedField {
	was, is := fieldsOf(before), fieldsOf(after)
	names := map[string]bool{}
	for name := range was {
		names[name] = true
	}
	for name := range is {
		names[name] = true
	}
	var fields []changedField
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if was[name] != is[name] && name != "mac" && name != "id" && name != "created" {
			fields = append(fields, changedField{name, was[name], is[name]})
		}
	}
	return fields
}

// fieldsOf reads a JSON object; what is empty or zero is left out.
func fieldsOf(object json.RawMessage) map[string]string {
	if object == nil {
		return nil
	}
	var read map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(object)))
	decoder.UseNumber()
	if decoder.Decode(&read) != nil {
		return nil
	}
	fields := map[string]string{}
	for name, value := range read {
		if s := fmt.Sprint(value); s != "" && s != "0" && value != nil {
			fields[name] = s
		}
	}
	return fields
}
