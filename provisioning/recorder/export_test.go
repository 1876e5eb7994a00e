package recorder

import "time"

// SetSyncWait has readers wait longer for what has just happened, before Run.
func (r *Recorder) SetSyncWait(d time.Duration) { r.syncWait = d }
