package provisioning

import (
	"encoding/json"
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
	Before  json.RawMessage `json:"before,omitempty"` // the thing before, absent if there was none
	After   json.RawMessage `json:"after,omitempty"`  // the thing after, absent if it was removed
}
