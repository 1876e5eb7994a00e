package pages

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"farmboot/provisioning"
)

// boardSize is how many nodes a page of the board has, and how many rows may be
// asked for at a time.
const boardSize = 200

// boardPage is /admin.
type boardPage struct {
	frame
	form
	boardView
	Filters []boardFilter
	Pager   pager
}

// boardView is what is live on it.
type boardView struct {
	Rows  []boardRow
	Count boardCount
}

// boardCount is how many nodes there are in each group.
type boardCount struct{ All, Booting, Attention, Started, Quiet int }

// boardFilter is a link that shows one group.
type boardFilter struct {
	Title, Value, URL string
	Count             int
	Current           bool
}

// boardRow is a node on the board.
type boardRow struct {
	MAC        provisioning.MAC
	Node       provisioning.Node
	Registered bool
	Group      string // "booting", "attention", "started" or "quiet"
	Stages     stages
	Story      provisioning.Story
	Now        string   // what it does, or did last
	Kernel     transfer // how its kernel went out
	Last       time.Time
	At         time.Time // when this was true
}

// ID is the id of its element.
func (r boardRow) ID() string { return "node-" + strings.ReplaceAll(r.MAC.String(), ":", "") }

// Title is what people call it.
func (r boardRow) Title() string { return cmp.Or(r.Node.Name, r.MAC.String()) }

// Took is how long its last boot took, or has been taking.
func (r boardRow) Took() string {
	if r.Story.Began.IsZero() {
		return ""
	}
	end := r.Last
	if r.Group == "booting" {
		end = r.At
	}
	return durationText(max(end.Sub(r.Story.Began), 0))
}

// transfer is how a kernel went out.
type transfer struct {
	Bytes, Size int64
	Duration    time.Duration
}

// Text is the transfer in words.
func (t transfer) Text() string {
	if t.Bytes == 0 {
		return ""
	}
	s := bytesText(t.Bytes)
	if t.Bytes < t.Size {
		s += " of " + bytesText(t.Size)
	}
	if r := rateText(t.Bytes, t.Duration); r != "" {
		s += ", " + r
	}
	return s
}

// stages is how far a boot has come: so many of the five steps are done, and the
// next one is under way, or went wrong.
type stages struct {
	Done  int
	State string // of the step after those: "now", "wrong" or ""
}

// stageNames are the five steps.
var stageNames = []string{"address", "bootloader", "script", "kernel", "started"}

// Steps are the classes of the five bars.
func (s stages) Steps() []string {
	classes := make([]string, len(stageNames))
	for i := range classes {
		switch {
		case i < s.Done:
			classes[i] = "done"
		case i == s.Done:
			classes[i] = s.State
		}
	}
	return classes
}

// Label is the same in words.
func (s stages) Label() string {
	switch {
	case s.Done == len(stageNames):
		return "Started: all five stages passed"
	case s.State == "":
		return "Nothing under way"
	case s.State == "wrong":
		return "Stopped at stage " + strconv.Itoa(s.Done+1) + " of 5: " + stageNames[s.Done]
	}
	return "Stage " + strconv.Itoa(s.Done+1) + " of 5: " + stageNames[s.Done]
}

// stagesOf tells how far a story has come.
func stagesOf(story provisioning.Story) stages {
	var s stages
	for _, step := range story.Steps {
		s.Done = max(s.Done, stageOf(step.Stage))
	}
	switch story.State {
	case provisioning.StateBooted:
		s.Done = len(stageNames)
	case provisioning.StateBooting, provisioning.StateHeld:
		s.State = "now"
	case provisioning.StateStalled, provisioning.StateRefused:
		s.State = "wrong"
	}
	return s
}

// stageOf is how many of the five steps are behind a node at that stage. That its
// kernel is through is for its story to tell: it may come in pieces.
func stageOf(s provisioning.Stage) int {
	switch s {
	case provisioning.StageBootServer, provisioning.StageOffer:
		return 1
	case provisioning.StageNBP:
		return 2
	case provisioning.StageScript, provisioning.StageHold, provisioning.StageClaim, provisioning.StageExit, provisioning.StageLoading, provisioning.StageKernel:
		return 3
	}
	return 0
}

// groupOf sorts states into the groups that the board tells apart.
func groupOf(s provisioning.State) string {
	switch s {
	case provisioning.StateBooting:
		return "booting"
	case provisioning.StateStalled, provisioning.StateRefused, provisioning.StateHeld:
		return "attention"
	case provisioning.StateBooted, provisioning.StateExited:
		return "started"
	}
	return "quiet"
}

// rowOf tells of a node by its events.
func rowOf(n provisioning.Node, registered bool, events []provisioning.Event, now time.Time) boardRow {
	row := boardRow{MAC: n.MAC, Node: n, Registered: registered, At: now, Group: "quiet"}
	if len(events) == 0 {
		row.Story.State = provisioning.StateUnseen
		return row
	}
	row.Story = provisioning.Tell(events, now)
	row.Group, row.Stages, row.Last = groupOf(row.Story.State), stagesOf(row.Story), events[len(events)-1].At
	if n := len(row.Story.Steps); n > 0 {
		row.Now = row.Story.Steps[n-1].Text
	}
	for _, e := range events {
		if e.Stage == provisioning.StageKernel && !e.At.Before(row.Story.Began) {
			row.Kernel = transfer{row.Kernel.Bytes + e.Bytes, e.Size, row.Kernel.Duration + e.Duration}
		}
	}
	return row
}

// entry is a node that the board can show.
type entry struct {
	node       provisioning.Node
	registered bool
	state      provisioning.State
}

// entries lists all nodes that by may see, the one that did something last first.
func (a *Admin) entries(r *http.Request, by provisioning.Actor, now time.Time) ([]entry, error) {
	nodes, err := a.Registry.Nodes(r.Context(), by, provisioning.NodeQuery{})
	if err != nil {
		return nil, err
	}
	quiet := make(map[provisioning.MAC]*provisioning.Node, len(nodes))
	for i := range nodes {
		quiet[nodes[i].MAC] = &nodes[i]
	}
	list := make([]entry, 0, len(nodes))
	for _, d := range a.Board.Latest() {
		n, registered := quiet[d.MAC]
		switch {
		case registered:
			list = append(list, entry{*n, true, a.Board.State(d.MAC, now)})
			delete(quiet, d.MAC)
		case by.Role == provisioning.RoleAdmin:
			list = append(list, entry{provisioning.Node{MAC: d.MAC}, false, a.Board.State(d.MAC, now)})
		}
	}
	for _, n := range nodes { // those that did nothing yet, by MAC address
		if _, ok := quiet[n.MAC]; ok {
			list = append(list, entry{n, true, provisioning.StateUnseen})
		}
	}
	return list, nil
}

// rows tells of those nodes.
func (a *Admin) rows(list []entry, now time.Time) []boardRow {
	rows := make([]boardRow, len(list))
	for i, e := range list {
		rows[i] = rowOf(e.node, e.registered, a.Board.Events(e.node.MAC), now)
	}
	return rows
}

// count counts the groups.
func count(list []entry) boardCount {
	c := boardCount{All: len(list)}
	for _, e := range list {
		switch groupOf(e.state) {
		case "booting":
			c.Booting++
		case "attention":
			c.Attention++
		case "started":
			c.Started++
		default:
			c.Quiet++
		}
	}
	return c
}

// shows tells whether the filter, a group and a text, shows a node.
func shows(f form, e entry) bool {
	if group := f.Text("state"); group != "" && groupOf(e.state) != group {
		return false
	}
	text := strings.ToLower(f.Text("q"))
	return text == "" || strings.Contains(strings.ToLower(e.node.Name), text) ||
		strings.Contains(e.node.MAC.String(), text) || e.node.Farmer != 0 && e.node.Farmer.String() == text
}

func (a *Admin) board(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	now := a.Now()
	list, err := a.entries(r, by, now)
	if err != nil {
		return err
	}
	f := newForm(r.URL.Query())
	page := boardPage{frame: adminFrame(r, by, "board"), form: f, boardView: boardView{Count: count(list)}}
	page.Filters = boardFilters(page.Count, f)
	list = slices.DeleteFunc(list, func(e entry) bool { return !shows(f, e) })
	page.Pager, list = paged(r.URL, list, boardSize)
	page.Rows = a.rows(list, now)
	return render(w, http.StatusOK, "board", page)
}

// boardFilters are the links to the groups.
func boardFilters(c boardCount, f form) []boardFilter {
	filters := []boardFilter{
		{Title: "All", Value: "", Count: c.All},
		{Title: "Booting", Value: "booting", Count: c.Booting},
		{Title: "Need a look", Value: "attention", Count: c.Attention},
		{Title: "Started", Value: "started", Count: c.Started},
		{Title: "Quiet", Value: "quiet", Count: c.Quiet},
	}
	for i, filter := range filters {
		q := url.Values{}
		for field, value := range map[string]string{"state": filter.Value, "q": f.Text("q")} {
			if value != "" {
				q.Set(field, value)
			}
		}
		filters[i].URL = strings.TrimSuffix("/admin?"+q.Encode(), "?")
		filters[i].Current = filter.Value == f.Text("state")
	}
	return filters
}

// boardRows is the part of the board that changed: the rows of the nodes that are
// asked for, as far as the filter shows them.
func (a *Admin) boardRows(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	now := a.Now()
	list, err := a.entries(r, by, now)
	if err != nil {
		return err
	}
	f := newForm(r.URL.Query())
	wanted := map[string]bool{}
	for _, mac := range f.Values["mac"] {
		wanted[mac] = true
	}
	page := boardPage{boardView: boardView{Count: count(list)}, form: f}
	page.Filters = boardFilters(page.Count, f)
	list = slices.DeleteFunc(list, func(e entry) bool { return !wanted[e.node.MAC.String()] || !shows(f, e) })
	page.Rows = a.rows(list[:min(len(list), boardSize)], now)
	return renderPart(w, "board", "board-live", page)
}
