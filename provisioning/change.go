package provisioning

import (
	"encoding/json"
	"time"
)

// Change is one line of the history: who changed what, when, and from where.
type Change struct {
	ID      int64           `json:"id"` // given by the store; grows with time
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	From    string          `json:"from"`
	Action  string          `json:"action"`           // "node add", "node set", "farmer rm", …
	Subject string          `json:"subject"`          // a MAC address, a farmer id, a token id
	Before  json.RawMessage `json:"before,omitempty"` // the thing before, absent if there was none
	After   json.RawMessage `json:"after,omitempty"`  // the thing after, absent if it was removed
}

// changesOf returns those of a node's changes, newest first, that concern the farmer
// whose it is: back to the one by which it became his, without what it was before that.
func changesOf(his FarmerID, changes []Change) []Change {
	for i, c := range changes {
		var before Node
		if json.Unmarshal(c.Before, &before) == nil && before.Farmer == his {
			continue
		}
		changes[i].Before = nil
		return changes[:i+1]
	}
	return changes
}
