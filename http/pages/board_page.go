package pages

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/human"
	"farmboot/provisioning/live"
	"farmboot/provisioning/rights"
	"farmboot/provisioning/story"
)

// boardSize is how many nodes a page of the board has, and how many rows may be
// asked for at a time.
const boardSize = 200

// boardPage is /admin.
type boardPage struct {
	frame
	form
	boardView
	First    firstSteps
	Stranded []stranded

	Unconfigured []unconfigured

	Filters []boardFilter
	Pager   pager
}

// Nothing says what the filter found nothing of.
func (p boardPage) Nothing() string {
	if p.Text("q") != "" {
		return "Nothing matches “" + p.Text("q") + "”"
	}
	for _, g := range boardGroups {
		if g.Value == p.Text("state") {
			return g.Text
		}
	}
	return ""
}

// boardView is what is live on it.
type boardView struct {
	Rows  []boardRow
	Count boardCount
}

// boardCount is how many nodes there are in each group, and in all (group "").
type boardCount map[string]int

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
	Story      story.Story
	Now        string   // what it does, or did last
	Kernel     transfer // how its kernel went out
	Last       time.Time
	At         time.Time // when this was true
	Fixed      bool      // whoever looks may change nothing
	Mend       bool      // a kernel is missing, and whoever looks may store one
	Next       string    // kernel of its own that it boots next; "": that of its run mode, or none
	Lack       string    // what is wrong with that; "": nothing
	Machine    provisioning.Discovered
}

// Hardware says in a few words what its machine is.
func (r boardRow) Hardware() string {
	var words []string
	if product := strings.TrimSpace(r.Machine.Manufacturer + " " + r.Machine.Product); product != "" {
		words = append(words, product)
	}
	if r.Machine.Serial != "" {
		words = append(words, "no. "+r.Machine.Serial)
	}
	if r.Machine.Address != "" {
		words = append(words, r.Machine.Address)
	}
	return strings.Join(words, ", ")
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
	took := max(end.Sub(r.Story.Began), 0)
	if took == 0 {
		return "" // one step says nothing of how long it takes
	}
	return human.Duration(took)
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
	s := human.Bytes(t.Bytes)
	if t.Bytes < t.Size {
		s += " of " + human.Bytes(t.Size)
	}
	if r := human.Rate(t.Bytes, t.Duration); r != "" {
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

// stagesOf tells how far a boot has come.
func stagesOf(told story.Story) stages {
	var s stages
	for _, step := range told.Steps {
		s.Done = max(s.Done, stageOf(step.Stage))
	}
	switch told.State {
	case story.Started, story.Booted:
		s.Done = len(stageNames)
	case story.Booting, story.Held:
		s.State = "now"
	case story.Stalled, story.Refused, story.Failed:
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
	case provisioning.StageScript, provisioning.StageHold, provisioning.StageWait, provisioning.StageClaim, provisioning.StageExit, provisioning.StageLoading, provisioning.StageKernel, provisioning.StageFailed:
		return 3
	}
	return 0
}

// groupOf sorts states into the groups that the board tells apart.
func groupOf(s story.State) string {
	switch s {
	case story.Booting:
		return "booting"
	case story.Stalled, story.Refused, story.Failed, story.Held:
		return "attention"
	case story.Started, story.Booted:
		return "started"
	}
	return "quiet"
}

// rowOf tells of a node by its events.
func rowOf(n provisioning.Node, registered bool, events []provisioning.Event, now time.Time) boardRow {
	row := boardRow{MAC: n.MAC, Node: n, Registered: registered, At: now, Group: "quiet"}
	if len(events) == 0 {
		row.Story.State = story.Unseen
		return row
	}
	row.Story = story.Tell(events, now)
	row.Group, row.Stages, row.Last = groupOf(row.Story.State), stagesOf(row.Story), events[len(events)-1].At
	if n := len(row.Story.Steps); n > 0 {
		row.Now = row.Story.Steps[n-1].Text
	}
	row.Kernel = kernelOf(events, row.Story.Began)
	return row
}

// lacksKernel tells whether a boot ended for want of a kernel, which the page Kernels mends.
func lacksKernel(c provisioning.Cause) bool {
	return c.ID == provisioning.CauseKernelMissing || c.ID == provisioning.CauseKernelBroken
}

// seenBy is the row as by sees it.
func (r boardRow) seenBy(by provisioning.Actor) boardRow {
	r.Fixed = rights.Change(by) != nil
	r.Mend = rights.All(by) && !r.Fixed && lacksKernel(r.Story.Cause)
	return r
}

// kernelOf tells how the last kernel of a boot went out: the parts of one download
// (HTTP Range) make up one, the tries before it do not.
func kernelOf(events []provisioning.Event, began time.Time) transfer {
	var t transfer
	name := ""
	for _, e := range slices.Backward(events) {
		switch {
		case e.At.Before(began) || e.Stage != provisioning.StageKernel:
			continue
		case e.Bytes >= e.Size:
			return transfer{e.Bytes, e.Size, e.Duration}
		case name != "" && e.File != name:
			return t
		}
		name = e.File
		t = transfer{min(t.Bytes+e.Bytes, e.Size), e.Size, t.Duration + e.Duration}
		if t.Bytes == t.Size {
			break
		}
	}
	return t
}

// attentionFirst is how long nodes that need a look come before all others. One that is
// left so is among the rest again.
const attentionFirst = 24 * time.Hour

// selection is what the board shows to an actor: nodes that did something, those that need
// a look first and then the last to do something, and behind them those that did nothing
// yet, by MAC address. Those may be a hundred thousand, so they stay in the store until a page shows some of them.
type selection struct {
	Count  boardCount // of all that the actor may see
	active []provisioning.MAC
	quiet  provisioning.NodeQuery // selects the others
	quiets int                    // how many those are
}

// size is how many nodes it has.
func (s selection) size() int { return len(s.active) + s.quiets }

// boardOf finds what by may see, and of that what the filter shows: a group and a text.
func (a *Admin) boardOf(ctx context.Context, by provisioning.Actor, f form, now time.Time) (s selection, err error) {
	active := a.Board.Latest()
	var own map[provisioning.MAC]provisioning.Node // of a farmer
	if !rights.All(by) {
		if own, err = a.found(ctx, by, provisioning.NodeQuery{Among: macsOf(active)}); err != nil {
			return s, err
		}
		active = slices.DeleteFunc(active, func(d live.Active) bool {
			n, ok := own[d.MAC]
			return !ok || d.At.Before(rights.Since(by, n))
		})
	}
	remembered := macsOf(active)
	s.active, s.quiet.Except = slices.Clone(remembered), remembered
	all, err := a.Registry.CountNodes(ctx, by, provisioning.NodeQuery{})
	if err != nil {
		return s, err
	}
	registered, err := a.Registry.CountNodes(ctx, by, provisioning.NodeQuery{Among: remembered})
	if err != nil {
		return s, err
	}
	s.quiets = max(all-registered, 0) // a node may have come or gone between the two
	group := f.Text("state")
	s.Count = boardCount{}
	s.Count.add("quiet", s.quiets)
	var first []provisioning.MAC // those that need a look, and did something lately
	lately := make(map[provisioning.MAC]bool)
	for _, d := range active {
		lately[d.MAC] = now.Sub(d.At) < attentionFirst
	}
	s.active = slices.DeleteFunc(s.active, func(mac provisioning.MAC) bool {
		is := groupOf(a.Board.State(mac, rights.Since(by, own[mac]), now))
		s.Count.add(is, 1)
		if is == "attention" && group == "" && lately[mac] {
			first = append(first, mac)
			return true
		}
		return group != "" && is != group
	})
	s.active = append(first, s.active...)
	if group != "" && group != "quiet" {
		s.quiets = 0
	}
	return s, a.who(ctx, by, &s, f.Text("q"))
}

// who keeps those of s that a text finds: part of a name or of a MAC address, or a
// farmer's id.
func (a *Admin) who(ctx context.Context, by provisioning.Actor, s *selection, text string) error {
	if text == "" {
		return nil
	}
	named, err := a.found(ctx, by, provisioning.NodeQuery{Among: s.active, Who: text})
	if err != nil {
		return err
	}
	s.active = slices.DeleteFunc(s.active, func(mac provisioning.MAC) bool {
		_, ok := named[mac]
		return !ok && !strings.Contains(mac.String(), strings.ToLower(text)) // it may not be registered
	})
	if s.quiets > 0 {
		s.quiet.Who = text
		s.quiets, err = a.Registry.CountNodes(ctx, by, s.quiet)
	}
	return err
}

func macsOf(active []live.Active) []provisioning.MAC {
	macs := make([]provisioning.MAC, len(active))
	for i, d := range active {
		macs[i] = d.MAC
	}
	return macs
}

// found is what a query selects.
func (a *Admin) found(ctx context.Context, by provisioning.Actor, q provisioning.NodeQuery) (map[provisioning.MAC]provisioning.Node, error) {
	nodes, err := a.Registry.Nodes(ctx, by, q)
	found := make(map[provisioning.MAC]provisioning.Node, len(nodes))
	for _, n := range nodes {
		found[n.MAC] = n
	}
	return found, err
}

// rows tells of the nodes of s from one place to another.
func (a *Admin) rows(ctx context.Context, by provisioning.Actor, s selection, from, to int, now time.Time) ([]boardRow, error) {
	active := s.active[min(from, len(s.active)):min(to, len(s.active))]
	nodes, err := a.found(ctx, by, provisioning.NodeQuery{Among: active})
	if err != nil {
		return nil, err
	}
	machines, err := a.Registry.Machines(ctx, by, active)
	if err != nil {
		return nil, err
	}
	var rows []boardRow
	for _, mac := range active {
		n, registered := nodes[mac]
		if !registered && !rights.All(by) {
			continue // given to another farmer just now
		}
		n.MAC = mac
		row := rowOf(n, registered, a.Board.Events(mac, rights.Since(by, n)), now).seenBy(by)
		row.Machine = machines[mac]
		rows = append(rows, row)
	}
	if to <= len(s.active) || s.quiets == 0 {
		a.lacks(rows)
		return rows, nil
	}
	s.quiet.Skip, s.quiet.Limit = max(from-len(s.active), 0), to-max(from, len(s.active))
	quiet, err := a.Registry.Nodes(ctx, by, s.quiet)
	for _, n := range quiet {
		rows = append(rows, rowOf(n, true, nil, now))
	}
	a.lacks(rows)
	return rows, err
}

// add counts nodes of a group.
func (c boardCount) add(group string, n int) {
	c[""] += n
	c[group] += n
}

func (a *Admin) board(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	now, f := a.Now(), newForm(r.URL.Query())
	s, err := a.boardOf(r.Context(), by, f, now)
	if err != nil {
		return err
	}
	page := boardPage{frame: adminFrame(r, by, "board"), form: f, boardView: boardView{Count: s.Count}, Filters: boardFilters(s.Count, f)}
	var from int
	page.Pager, from = pageOf(r.URL, s.size(), boardSize)
	if page.Rows, err = a.rows(r.Context(), by, s, from, page.Pager.To, now); err != nil {
		return err
	}
	bare := a.bare(r)
	if page.First, err = a.firstSteps(r, by, bare); err != nil {
		return err
	}
	if !page.First.Kernel {
		if page.Stranded, err = a.stranded(r, by, bare); err != nil {
			return err
		}
	}
	if page.Unconfigured, err = a.unconfigured(r.Context(), by); err != nil {
		return err
	}
	return render(w, http.StatusOK, "board", page)
}

// boardFilters are the links to the groups.
func boardFilters(c boardCount, f form) []boardFilter {
	filters := make([]boardFilter, len(boardGroups))
	for i, g := range boardGroups {
		q := url.Values{}
		for field, value := range map[string]string{"state": g.Value, "q": f.Text("q")} {
			if value != "" {
				q.Set(field, value)
			}
		}
		filters[i] = boardFilter{
			Title: g.Title, Value: g.Value, Count: c[g.Value], Current: g.Value == f.Text("state"),
			URL: strings.TrimSuffix("/admin?"+q.Encode(), "?"),
		}
	}
	return filters
}

// boardRows is the part of the board that changed: the rows of the nodes that are
// asked for, as far as the filter shows them.
func (a *Admin) boardRows(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	now, f := a.Now(), newForm(r.URL.Query())
	s, err := a.boardOf(r.Context(), by, f, now)
	if err != nil {
		return err
	}
	wanted := []provisioning.MAC{}
	for _, text := range f.Values["mac"] {
		if mac, err := provisioning.ParseMAC(text); err == nil {
			wanted = append(wanted, mac)
		}
	}
	s.active = slices.DeleteFunc(s.active, func(mac provisioning.MAC) bool { return !slices.Contains(wanted, mac) })
	s.quiet.Among = wanted
	page := boardPage{form: f, boardView: boardView{Count: s.Count}, Filters: boardFilters(s.Count, f)}
	if page.Rows, err = a.rows(r.Context(), by, s, 0, boardSize, now); err != nil {
		return err
	}
	return renderPart(w, "board", "board-live", page)
}
