package dhcp

import (
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/provisioning"
)

const (
	// rememberStarted is how many machines are listened for whose kernel went out.
	rememberStarted = 1 << 16
	// upLimit is how long an operating system may take until it asks for an address.
	// Zero-OS does so within a minute; a large server checks its memory first.
	upLimit = time.Hour
)

// Started takes note that a kernel went out to mac at that time: the next time that it
// asks the LAN for an address as an ordinary machine, its operating system runs.
func (s *Server) Started(mac provisioning.MAC, at time.Time) {
	s.started.put(mac, at)
}

// Stopped takes back what Started said.
func (s *Server) Stopped(mac provisioning.MAC) { s.started.take(mac) }

// Booting takes note that mac boots: it has fetched something.
func (s *Server) Booting(mac provisioning.MAC) {
	s.admission.boots(mac)
}

// Fetched takes note that a boot program went out to mac.
func (s *Server) Fetched(mac provisioning.MAC) {
	s.Booting(mac)
	s.attempts.fetched(mac)
}

// Unenrolled takes note that shim on mac runs, and does not trust who signed our iPXE.
func (s *Server) Unenrolled(mac provisioning.MAC) {
	s.Booting(mac)
	s.attempts.refused(mac)
}

// Running takes note that the boot program of mac runs: it has asked for its script.
func (s *Server) Running(mac provisioning.MAC) {
	s.Booting(mac)
	if p, news := s.attempts.running(mac); news {
		p.Since = s.Now()
		s.Prove(p)
	}
}

// isUp tells whether a packet shows that the operating system of its sender runs: a
// DISCOVER or REQUEST to the LAN's DHCP server, of a machine whose kernel went out lately,
// and not of its firmware or of a boot loader, which say that they are PXEClient or
// HTTPClient. It is true once for each kernel. For all other packets of ordinary machines
// it costs a look into a map.
func (s *Server) isUp(req *dhcpv4.DHCPv4, service Service, now time.Time) (mac provisioning.MAC, up bool) {
	if service != ProxyDHCP || req.OpCode != dhcpv4.OpcodeBootRequest {
		return mac, false
	}
	if t := req.MessageType(); t != dhcpv4.MessageTypeDiscover && t != dhcpv4.MessageTypeRequest {
		return mac, false
	}
	if _, netboots := classOf(req); netboots {
		return mac, false
	}
	mac, ok := hardwareAddr(req)
	if !ok {
		return mac, false
	}
	at, ok := s.started.take(mac)
	return mac, ok && now.Sub(at) < upLimit
}
