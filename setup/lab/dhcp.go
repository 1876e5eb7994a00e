package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"
)

// dhcpStart bounds how long the DHCP server may take to start; it takes
// milliseconds.
const dhcpStart = 30 * time.Second

// serveDHCP starts an ordinary dnsmasq on the LAN, as in a home router: it gives
// addresses and resolves names, and knows nothing of network booting. Unless isolated the LAN
// has IPv6 too: an old iPXE waits 16 s for a router's advertisement without it.
func (l *LAN) serveDHCP(server *Host) error {
	options := []string{
		// Debug mode, as a daemon that changes its user forgets to die with us (prctl(2)).
		"--conf-file=/dev/null", "--no-daemon", "--log-dhcp",
		"--dhcp-leasefile=" + l.leaseFile(),
		"--interface=" + Interface, "--bind-interfaces",
		"--dhcp-authoritative",
		fmt.Sprintf("--dhcp-range=%s,%s,12h", firstInPool, lastInPool),
		"--no-hosts", "--no-resolv",
	}
	if !l.opts.Ping {
		options = append(options, "--no-ping") // nobody else is here; saves 3 s in each boot
	}
	if l.opts.Isolated {
		options = append(options, "--port=0", "--dhcp-option=option:router", "--dhcp-option=option:dns-server")
	} else {
		// Names of the world do not exist here: say so at once.
		options = append(options, "--local=/#/", fmt.Sprintf("--dhcp-option=option:dns-server,%s", server.addr),
			"--enable-ra", "--dhcp-range=::,constructor:"+Interface+",ra-only")
	}
	// nodad: it is this address that machines hear of, at once.
	if err := server.ip(fmt.Sprintf("addr add %s dev %s nodad", serverAddr6, Interface)); err != nil {
		return err
	}
	p, err := server.start(l.file("dnsmasq.log"), "dnsmasq", append(options, l.opts.DHCP...)...)
	if err != nil {
		return err
	}
	l.dhcp = p
	l.onClose(p.Stop)
	ctx, cancel := context.WithTimeout(context.Background(), dhcpStart)
	defer cancel()
	if _, err := p.Expect(ctx, regexp.MustCompile(`DHCP, IP range`)); err != nil {
		return fmt.Errorf("start the LAN's DHCP server: %w", err)
	}
	return nil
}

func (l *LAN) leaseFile() string { return l.file("dnsmasq.leases") }

// DHCP returns the log of the LAN's DHCP server.
func (l *LAN) DHCP() *Console { return l.dhcp.Console }

// Lease is an address that the LAN's DHCP server gave to a machine.
type Lease struct {
	MAC  string // 52:54:00:00:00:b1
	Addr netip.Addr
}

// Leases returns the leases that the DHCP server holds now.
func (l *LAN) Leases() ([]Lease, error) {
	text, err := os.ReadFile(l.leaseFile())
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	return parseLeases(string(text))
}

// parseLeases reads dnsmasq's lease file: a line each of expiry, MAC, address,
// host name and client id.
func parseLeases(text string) ([]Lease, error) {
	var leases []Lease
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 5 {
			return nil, fmt.Errorf("lease %q: not five fields", line)
		}
		mac, err := net.ParseMAC(f[1])
		if err != nil {
			return nil, fmt.Errorf("lease %q: %w", line, err)
		}
		addr, err := netip.ParseAddr(f[2])
		if err != nil {
			return nil, fmt.Errorf("lease %q: %w", line, err)
		}
		leases = append(leases, Lease{MAC: mac.String(), Addr: addr})
	}
	return leases, nil
}

// disturbance matches what a DHCP server logs when somebody else interferes: a
// client that declines or refuses what it was offered, an address that is
// already used, a request that goes to another server.
var disturbance = regexp.MustCompile(`(?m)^.*(DHCPNAK|DHCPDECLINE|no address available|not using configured address|wrong (network|address|server-ID)|in use|not giving name|lease not found).*$`)

// Disturbed returns the lines of the DHCP server's log that tell of a conflict;
// none on a LAN where all is well.
func (l *LAN) Disturbed() []string { return disturbance.FindAllString(l.dhcp.Text(), -1) }
