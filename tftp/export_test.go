package tftp

import (
	"net/netip"
	"time"
)

// SetStallLimit sets how long transfers wait for a client that stopped answering.
func (s *Server) SetStallLimit(d time.Duration) { s.timeouts.stalled = d }

// SetSilentLimit sets how long transfers wait for a client that never answered.
func (s *Server) SetSilentLimit(d time.Duration) { s.timeouts.silent = d }

// OpenSocketsIn has transfers open their sockets inside of do: in another network
// namespace.
func (s *Server) OpenSocketsIn(do func(func() error) error) {
	s.openSocket = func(local netip.Addr, peer netip.AddrPort) (opened socket, err error) {
		err = do(func() (err error) {
			opened, err = openSocket(local, peer)
			return err
		})
		return opened, err
	}
}
