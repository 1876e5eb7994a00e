package provisioning

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// CanarySubject begins the Subject of changes of a canary, a kernel that is tried on some
// nodes of a run mode; the run mode follows. The last of each is kept for good: it tells
// which kernel those nodes boot.
const CanarySubject = "canary "

// Change is one line of the history: who changed what, when, and from where.
type Change struct {
	ID      int64           `json:"id"` // given by the store; grows with time
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	From    string          `json:"from"`
	Action  string          `json:"action"`           // "node add", "node set", "farmer rm", …
	Subject string          `json:"subject"`          // a MAC address, a farmer id, a token id
	Batch   string          `json:"batch,omitempty"`  // the same for changes made together, by an import for instance; "": alone
	Undoes  int64           `json:"undoes,omitempty"` // the ID of the change that this one takes back; 0: none
	Before  json.RawMessage `json:"before,omitempty"` // the thing before, absent if there was none
	After   json.RawMessage `json:"after,omitempty"`  // the thing after, absent if it was removed

	// UndoneBy is the ID of the change that took this one back, if that was not taken back in its
	// turn; 0: none. [MarkUndone] finds it, and no store keeps it.
	UndoneBy int64 `json:"undone_by,omitempty"`
}

// MarkUndone notes of each change whether it is taken back, by one of those before it: changes are
// the newest ones of something, newest first.
func MarkUndone(changes []Change) {
	undone := make(map[int64]int64) // by which change
	for i := range changes {
		c := &changes[i]
		if c.UndoneBy = undone[c.ID]; c.UndoneBy == 0 && c.Undoes != 0 {
			undone[c.Undoes] = c.ID
		}
	}
}

// Difference is what a change did to one field.
type Difference struct {
	Field         string // its name in JSON
	Before, After string // "": nothing, or 0
}

// inOrder are the fields of nodes, in the order in which people are told of them; those of
// other things follow by name.
var inOrder = []string{"farmer", "runmode", "args", "kernel", "name", "nbp", "exit", "once"}

// Differences lists the fields that the change changed.
func (c Change) Differences() (list []Difference) {
	was, is := fieldsOf(c.Before), fieldsOf(c.After)
	both := maps.Clone(is)
	maps.Copy(both, was)
	place := func(name string) uint { return uint(slices.Index(inOrder, name)) } // -1 is the last
	for _, name := range slices.SortedFunc(maps.Keys(both), func(a, b string) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b))
	}) {
		if was[name] != is[name] && name != "mac" && name != "id" && name != "created" {
			list = append(list, Difference{name, was[name], is[name]})
		}
	}
	return list
}

// fieldsOf reads a JSON object; what is empty or zero is left out.
func fieldsOf(object json.RawMessage) map[string]string {
	var read map[string]any
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.UseNumber() // 1234567 is no 1.234567e+06
	_ = decoder.Decode(&read)
	fields := make(map[string]string)
	for name, value := range read {
		if s := fmt.Sprint(value); s != "" && s != "0" && value != nil {
			fields[name] = s
		}
	}
	return fields
}
