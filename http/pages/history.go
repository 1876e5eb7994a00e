package pages

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"farmboot/provisioning"
	"farmboot/provisioning/registry"
)

// historyShown is how many changes are read, and historySize how many a page has.
const (
	historyShown = 5000
	historySize  = 200
)

// historyPage is /admin/history.
type historyPage struct {
	frame
	Problem string
	Lines   []historyLine
	Pager   pager
}

// historyLine is a change as pages show it, or many alike.
type historyLine struct {
	ID          int64
	At          time.Time
	Actor, From string
	Action      string
	Subject     string
	URL         string                    // of the subject's page; "": it has none
	Fields      []provisioning.Difference // of many: what they have in common
	Many        []historyLine             // the first of them, each with what is its own; empty: it is one
	More        int64                     // how many there are besides
	Undo        bool                      // it can be taken back
	Undone      bool                      // it is taken back
}

// Summary says what many changes are.
func (l historyLine) Summary() string {
	return digits(int64(len(l.Many))+l.More) + " " + manyWords[l.Action]
}

func (a *Admin) history(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	return a.showHistory(w, r, by, http.StatusOK, "")
}

// undo takes a change back, and those made together with it.
func (a *Admin) undo(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	id, err := strconv.ParseInt(mux.Vars(r)["id"], 10, 64)
	if err != nil {
		return provisioning.Errorf(provisioning.NotFound, "there is no such change")
	}
	undone, err := a.Registry.Undo(r.Context(), by, id)
	q := url.Values{}
	addNames(q, "node", undone.Unenrolled)
	addNames(q, "once", provisioning.MACsOf(undone.Once))
	addNames(q, "farmer", undone.Farmers)
	if err == nil && len(q) > 0 {
		q.Set("done", "undone")
		seeOther(w, r, "/admin/history?"+q.Encode())
		return nil
	}
	return answerForm(w, r, err, "/admin/history", "undone", func(status int, problem string) error {
		return a.showHistory(w, r, by, status, problem)
	})
}

// undoneShown is how many nodes, and how many farmers, the page names that an undo did not put back
// as they were.
const undoneShown = 20

// addNames adds as many names to a query as are shown, and one more where there are more.
func addNames[T fmt.Stringer](q url.Values, key string, names []T) {
	for _, name := range names[:min(len(names), undoneShown+1)] {
		q.Add(key, name.String())
	}
}

// undoneToo says what there is to say besides of a change that was taken back, by the query that
// [Admin.undo] leads to.
func undoneToo(q url.Values) (says string) {
	mac := func(s string) (fmt.Stringer, error) { return provisioning.ParseMAC(s) }
	farmer := func(s string) (fmt.Stringer, error) { return provisioning.ParseFarmerID(s) }
	for _, about := range []struct {
		key, text string
		parse     func(string) (fmt.Stringer, error)
	}{{"node", undoneEnrol, mac}, {"once", undoneOnce, mac}, {"farmer", undoneFarmers, farmer}} {
		var names []string
		for _, text := range q[about.key] {
			if name, err := about.parse(text); err == nil {
				names = append(names, name.String())
			}
		}
		if len(names) > undoneShown {
			names = append(names[:undoneShown-1], names[undoneShown-1]+" and others (see below)")
		}
		if len(names) > 0 {
			says += " " + strings.Replace(about.text, "{names}", strings.Join(names, ", "), 1)
		}
	}
	return says
}

func (a *Admin) showHistory(w http.ResponseWriter, r *http.Request, by provisioning.Actor, status int, problem string) error {
	changes, err := a.Registry.History(r.Context(), by, provisioning.ChangeQuery{Limit: historyShown})
	if err != nil {
		return err
	}
	page := historyPage{frame: adminFrame(r, by, "history")}
	if q := r.URL.Query(); q.Get("done") == "undone" {
		page.Done += undoneToo(q)
	}
	var shown [][]provisioning.Change
	page.Problem = problem
	page.Pager, shown = paged(r.URL, batches(changes), historySize)
	for _, batch := range shown {
		line := lineOf(batch)
		if len(batch) == 1 || batch[0].Batch != "" {
			line.Undo = !by.ReadOnly && registry.CanUndo(batch)
		} else { // shown as one, but each is taken back alone
			for i := range line.Many {
				line.Many[i].Undo = !by.ReadOnly && registry.CanUndo(batch[i:i+1])
			}
		}
		page.Lines = append(page.Lines, line)
	}
	return render(w, status, "history", page)
}

const (
	// Changes of before they had batches: foldFrom is how many in a row make one line,
	// and foldGap how soon one follows the other when an import makes them.
	foldFrom = 4
	foldGap  = time.Second
	// foldShown is how many of them can be looked at.
	foldShown = 200
)

// batches puts together what was changed at one go.
func batches(changes []provisioning.Change) [][]provisioning.Change {
	var list [][]provisioning.Change
	for len(changes) > 0 {
		n := 1
		for n < len(changes) && goTogether(changes[n-1], changes[n]) {
			n++
		}
		if n < foldFrom && changes[0].Batch == "" {
			n = 1
		}
		list = append(list, changes[:n])
		changes = changes[n:]
	}
	return list
}

// goTogether tells whether two changes in a row were made at one go.
func goTogether(later, earlier provisioning.Change) bool {
	_, known := manyWords[later.Action]
	if later.Batch != "" || earlier.Batch != "" {
		return known && later.Action == earlier.Action && later.Batch == earlier.Batch
	}
	return known && later.Action == earlier.Action && later.Subject != earlier.Subject && later.Actor == earlier.Actor && later.From == earlier.From &&
		later.At.Sub(earlier.At) <= foldGap
}

// lineOf makes one line of one change, or of many alike.
func lineOf(changes []provisioning.Change) historyLine {
	c := changes[0]
	line := historyLine{ID: c.ID, At: c.At, Actor: c.Actor, From: c.From, Action: c.Action, Subject: c.Subject, Fields: c.Differences(), Undone: c.UndoneBy != 0}
	if strings.HasPrefix(c.Action, "node ") {
		line.URL = "/admin/nodes/" + c.Subject
	}
	if len(changes) == 1 {
		return line
	}
	for _, c := range changes {
		fields := c.Differences()
		line.Fields = slices.DeleteFunc(line.Fields, func(f provisioning.Difference) bool { return !slices.Contains(fields, f) })
		line.Undone = line.Undone && c.UndoneBy != 0
	}
	for i := range changes[:min(len(changes), foldShown)] {
		one := lineOf(changes[i : i+1])
		one.Fields = slices.DeleteFunc(one.Fields, func(f provisioning.Difference) bool { return slices.Contains(line.Fields, f) })
		line.Many = append(line.Many, one)
	}
	line.More = int64(len(changes) - len(line.Many))
	return line
}
