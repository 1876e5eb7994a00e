package tftp

import "time"

// SetStallLimit sets how long transfers wait for a client that stopped answering.
func (s *Server) SetStallLimit(d time.Duration) { s.stallLimit = d }
