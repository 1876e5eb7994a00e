package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// FirstHost is the address of the first host that joins a LAN; the next ones
// follow it.
var FirstHost = netip.MustParseAddr("10.77.0.2")

// The LAN's other addresses. The DHCP server is also the gateway and the name
// server.
var (
	network     = netip.MustParsePrefix("10.77.0.0/16")
	ServerAddr  = netip.MustParseAddr("10.77.0.1")
	firstInPool = netip.MustParseAddr("10.77.1.1") // of machines
	lastInPool  = netip.MustParseAddr("10.77.4.254")

	serverAddr6 = netip.MustParsePrefix("fd77::1/64")
)

// Interface is the name of every host's interface on the LAN.
const Interface = "lan0"

// bridge is the switch's interface in its namespace.
const bridge = "switch0"

// Options choose what kind of LAN it is.
type Options struct {
	// Dir is where logs, leases and captures go. It must exist.
	Dir string
	// Isolated: IPv4 alone, and the DHCP server names neither a gateway nor a
	// name server.
	Isolated bool
	// NoDHCP: no DHCP server runs on the LAN.
	NoDHCP bool
	// Ping: the DHCP server looks whether an address is in use before it offers it, as it
	// does out of the box: 3 seconds each, one machine after the other.
	Ping bool
	// DHCP are more options for the DHCP server, a dnsmasq.
	DHCP []string
	// Capture keeps the LAN's traffic in lan.pcap, if tcpdump is installed.
	Capture bool
}

// LAN is a switch with an ordinary DHCP server on it. Its methods may be called
// from several goroutines, but for Close.
type LAN struct {
	opts Options
	sw   *Namespace
	dhcp *Process

	mu       sync.Mutex
	closers  []func() error // last in, first out
	nextAddr netip.Addr     // of hosts
	ports    int            // names of the switch's ports, unique
}

// New makes a LAN and starts its DHCP server. Close ends both, and everything
// that was put on the LAN since.
func New(opts Options) (_ *LAN, err error) {
	l := &LAN{opts: opts, nextAddr: FirstHost}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.sw, err = l.namespace(); err != nil {
		return nil, err
	}
	if err := l.sw.ip("link add "+bridge+" type bridge", "link set "+bridge+" up"); err != nil {
		return nil, err
	}
	if opts.Capture {
		if err := l.capture(); err != nil {
			return nil, err
		}
	}
	server, err := l.join(ServerAddr, 0)
	if err != nil {
		return nil, err
	}
	if opts.NoDHCP {
		return l, nil
	}
	if err := l.serveDHCP(server); err != nil {
		return nil, err
	}
	return l, nil
}

// Close ends all programs and machines, last started first, and then the LAN.
func (l *LAN) Close() error {
	var errs []error
	for {
		l.mu.Lock()
		if len(l.closers) == 0 {
			l.mu.Unlock()
			return errors.Join(errs...)
		}
		last := len(l.closers) - 1
		f := l.closers[last]
		l.closers = l.closers[:last]
		l.mu.Unlock()
		errs = append(errs, f())
	}
}

// onClose has f called by Close.
func (l *LAN) onClose(f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, f)
}

// namespace makes a namespace that ends with the LAN.
func (l *LAN) namespace() (*Namespace, error) {
	n, err := newNamespace()
	if err != nil {
		return nil, err
	}
	l.onClose(func() error {
		n.Close()
		return nil
	})
	return n, nil
}

// port returns an unused name for a port of the switch.
func (l *LAN) port() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ports++
	return fmt.Sprintf("port%d", l.ports)
}

// file returns the path of an artifact.
func (l *LAN) file(name string) string { return filepath.Join(l.opts.Dir, name) }

// capture records what the switch sees. That it goes without where tcpdump is
// absent is in the documentation of [Options].
func (l *LAN) capture() error {
	if _, err := Tool("tcpdump"); err != nil {
		return nil
	}
	// 600 bytes hold a whole DHCP message and the start of everything else.
	p, err := l.sw.start(l.file("tcpdump.log"), "tcpdump", "-i", bridge, "-s", "600", "-U", "-Z", "root", "-w", l.file("lan.pcap"))
	if err != nil {
		return err
	}
	l.onClose(p.Stop)
	return nil
}

// Dir returns the folder of logs, leases and captures.
func (l *LAN) Dir() string { return l.opts.Dir }

// Host is a namespace on the LAN with an address of its own, in which programs
// run: an appliance, say. Its interface is called lan0.
type Host struct {
	*Namespace
	lan  *LAN
	addr netip.Addr
}

// Join puts a new host on the LAN, with the next free address, whose cable loses
// the fraction loss (0…1) of frames in each direction.
func (l *LAN) Join(loss float64) (*Host, error) {
	l.mu.Lock()
	addr := l.nextAddr
	l.nextAddr = addr.Next()
	l.mu.Unlock()
	return l.join(addr, loss)
}

func (l *LAN) join(addr netip.Addr, loss float64) (*Host, error) {
	n, err := l.namespace()
	if err != nil {
		return nil, err
	}
	h := &Host{Namespace: n, lan: l, addr: addr}
	return h, h.plug(loss)
}

// plug connects a host that has no cable, and gives its interface its address.
func (h *Host) plug(loss float64) error {
	port, err := h.lan.connect(h.Namespace, loss)
	if err != nil {
		return err
	}
	config := []string{
		fmt.Sprintf("addr add %s/%d brd + dev %s", h.addr, network.Bits(), Interface),
		fmt.Sprintf("link set %s up", Interface),
	}
	if h.addr != ServerAddr && !h.lan.opts.Isolated {
		config = append(config, fmt.Sprintf("route add default via %s", ServerAddr))
	}
	if err := h.ip(config...); err != nil {
		return err
	}
	return h.lan.awaitCable(port, h.Namespace)
}

// Plug connects a host again that was unplugged, by an interface of the same name and
// address.
func (h *Host) Plug() error { return h.plug(0) }

// Unplug takes a host's interface away, with its cable: that of a host whose cable
// loses nothing.
func (h *Host) Unplug() error { return h.IP("link del " + Interface) }

// IP runs ip(8) commands on the host, in order, up to the first that fails.
func (h *Host) IP(commands ...string) error { return h.ip(commands...) }

// cableLimit is how long a new cable may take until it carries frames.
const cableLimit = time.Minute

// awaitCable waits until both ends of a cable carry frames. The kernel notices a new
// one some time after it was plugged in, 100 ms on a busy machine, and till then the
// switch forwards nothing of what it receives there: whole bursts were lost (measured).
func (l *LAN) awaitCable(port string, n *Namespace) error {
	for deadline := time.Now().Add(cableLimit); ; time.Sleep(time.Millisecond) {
		here, err := l.sw.ipSays("link show dev " + port)
		if err != nil {
			return err
		}
		there, err := n.ipSays("link show dev " + Interface)
		if err != nil {
			return err
		}
		if strings.Contains(here, "state forwarding") && strings.Contains(there, "LOWER_UP") && !strings.Contains(there, "qdisc noop ") {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the cable to %s carries nothing after %v:\n%s%s", port, cableLimit, here, there)
		}
	}
}

// connect joins n to a port of the switch, whose name it returns: by a veth pair, or
// by a cable that loses frames.
func (l *LAN) connect(n *Namespace, loss float64) (port string, err error) {
	port = l.port()
	up := fmt.Sprintf("link set %s master %s up", port, bridge)
	if loss == 0 {
		return port, l.sw.ip(fmt.Sprintf("link add %s type veth peer name %s netns %s", port, Interface, n.path), up)
	}
	c, err := plug(l.sw, port, n, Interface, loss)
	if err != nil {
		return "", err
	}
	l.onClose(c.unplug)
	return port, l.sw.ip(up)
}

// Addr returns the host's address on the LAN.
func (h *Host) Addr() netip.Addr { return h.addr }

// Start runs a program on the host, until Close at the latest; log is the name
// of the artifact that keeps its output.
func (h *Host) Start(log, program string, args ...string) (*Process, error) {
	p, err := h.start(h.lan.file(log), program, args...)
	if err != nil {
		return nil, err
	}
	h.lan.onClose(func() error {
		p.Kill()
		return nil
	})
	return p, nil
}
