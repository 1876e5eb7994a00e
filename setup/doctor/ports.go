package doctor

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"farmboot/setup"
)

// The keys of the ports that nodes ask at. DISCOVERs are broadcast to the first one.
const (
	dhcpPortKey       = "[dhcp] port"
	bootServerPortKey = "[dhcp] boot-server-port"
	tftpPortKey       = "[tftp] port"
	bootPortKey       = "[http] port"
	adminPortKey      = "[http] tls-port"
)

// unheard says what comes of it that requests for a port do not reach us. Measured: OVMF
// tries UEFI HTTP Boot when PXE has failed, a minute later.
func (p Port) unheard(c setup.Config) string {
	switch p.Key {
	case bootServerPortKey:
		return "UEFI machines ask there for their boot program, and do not boot by PXE; BIOS machines do without"
	case tftpPortKey:
		return "machines get no boot program by PXE; those boot that fetch it by HTTP: iPXE in ROM, UEFI HTTP Boot"
	case bootPortKey, adminPortKey:
		switch secure := overTLS(c); {
		case secure == (p.Key == adminPortKey):
			return "nodes get no boot script and no kernel: none boots"
		case secure:
			return "nodes and media that ask by plain HTTP get nothing"
		}
		return peopleAlone
	}
	return "nodes' requests do not reach us: they are not told what to boot"
}

// peopleAlone is what comes of it that nobody reaches the port for TLS, where nodes are not
// led there.
const peopleAlone = "nodes boot without it, but for media made with scheme=https; the board and the API are out of reach"

// overTLS tells whether nodes fetch over TLS.
func overTLS(c setup.Config) bool { return c.BaseHost != nil && c.BaseHost.Scheme == "https" }

// forPeople tells whether a port is there for people, and nodes boot without it.
func (p Port) forPeople(c setup.Config) bool { return p.Key == adminPortKey && !overTLS(c) }

// ports are those that the daemon opens. While it does not run, each is opened
// here for a moment, the way the daemon does it.
func ports(ctx context.Context, c setup.Config, lans []setup.Interface, running bool) []Port {
	var all []Port
	add := func(enabled bool, key, network string, number uint16, device string) {
		if !enabled {
			return
		}
		p := Port{Key: key, Network: network, Number: number}
		if !running {
			p.Err = tryPort(ctx, network, number, device)
		}
		if p.Err != nil {
			p.Holders = holders("/proc", network, number)
		}
		if running {
			p.Bound = bound("/proc", network, number)
		}
		all = append(all, p)
	}
	device := "" // one stands for all
	if len(lans) > 0 {
		device = lans[0].Name
	}
	add(c.DHCP.Enabled, dhcpPortKey, "udp", c.DHCP.Port, device)
	add(c.DHCP.Enabled, bootServerPortKey, "udp", c.DHCP.BootServerPort, device)
	add(c.TFTP.Enabled, tftpPortKey, "udp", c.TFTP.Port, device)
	add(true, bootPortKey, "tcp", c.HTTP.Port, "")
	add(true, adminPortKey, "tcp", c.HTTP.TLSPort, "")
	return all
}

// tryPort opens a port, on one interface if device is not "", and closes it.
func tryPort(ctx context.Context, network string, number uint16, device string) error {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		if device == "" {
			return nil
		}
		var err error
		if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device) }); e != nil {
			return e
		}
		return err
	}}
	address := fmt.Sprintf(":%d", number)
	if network == "tcp" {
		l, err := config.Listen(ctx, network, address)
		if err != nil {
			return err
		}
		return l.Close()
	}
	conn, err := config.ListenPacket(ctx, network+"4", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// bound lists the addresses at which a port is open. Where there is none it looks again: a
// table longer than a page lacks a socket if another one is closed between two reads.
func bound(proc, network string, number uint16) []netip.Addr {
	var addrs []netip.Addr
	for range 3 {
		for _, s := range socketsOf(proc, network, number) {
			addrs = append(addrs, s.local.Addr())
		}
		if addrs != nil {
			break
		}
	}
	return addrs
}

// socketsOf lists the sockets that keep others from a port.
func socketsOf(proc, network string, number uint16) []socket {
	var all []socket
	for _, table := range []string{network, network + "6"} {
		text, err := readTable(filepath.Join(proc, "net", table))
		if err != nil {
			continue
		}
		all = append(all, slices.DeleteFunc(parseSockets(text), func(s socket) bool {
			return s.local.Port() != number || !s.listens(network)
		})...)
	}
	return all
}

// readTable reads a table of sockets in as few pieces as the kernel gives it in, which are
// pages. Each begins where so many sockets have been told of, and one that is closed in between
// makes it leave out another: with the 512 bytes that [os.ReadFile] begins with one in seven
// readings did, while three sockets came and went.
func readTable(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var text []byte
	for piece := make([]byte, 64<<10); ; {
		n, err := f.Read(piece)
		text = append(text, piece[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return string(text), nil
		case err != nil:
			return "", err
		}
	}
}

// holders lists the programs that have a port open, as far as we may look.
func holders(proc, network string, number uint16) []Holder {
	inodes := make(map[string]bool)
	for _, s := range socketsOf(proc, network, number) {
		inodes[s.inode] = true
	}
	var all []Holder
	fds, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil {
			continue
		}
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if !isSocket || !inodes[strings.TrimSuffix(inode, "]")] {
			continue
		}
		pid := filepath.Base(filepath.Dir(filepath.Dir(fd)))
		comm, _ := os.ReadFile(filepath.Join(proc, pid, "comm"))
		if h := (Holder{strings.TrimSpace(string(comm)), pid}); !slices.Contains(all, h) {
			all = append(all, h)
		}
	}
	return all
}

// socket is a line of /proc/net/udp or tcp.
type socket struct {
	local netip.AddrPort
	state string // hexadecimal, as the kernel's TCP states
	inode string
}

// listens tells whether others cannot open the port: a TCP socket in the state
// LISTEN, any UDP socket.
func (s socket) listens(network string) bool { return network == "udp" || s.state == "0A" }

// parseSockets reads the format of /proc/net/udp, udp6, tcp and tcp6
// (proc_pid_net(5)). Lines that are not understood are left out.
func parseSockets(table string) []socket {
	var all []socket
	for line := range strings.Lines(table) {
		// sl local rem st tx:rx tr:tm retrnsmt uid timeout inode …
		const local, state, inode = 1, 3, 9
		f := strings.Fields(line)
		if len(f) <= inode {
			continue
		}
		host, port, ok := strings.Cut(f[local], ":")
		raw, err := hex.DecodeString(host)
		n, err2 := strconv.ParseUint(port, 16, 16)
		if !ok || err != nil || err2 != nil || len(raw)%4 != 0 {
			continue
		}
		for w := 0; w < len(raw); w += 4 { // words in the host's order
			binary.NativeEndian.PutUint32(raw[w:], binary.BigEndian.Uint32(raw[w:]))
		}
		addr, ok := netip.AddrFromSlice(raw)
		if !ok {
			continue
		}
		all = append(all, socket{netip.AddrPortFrom(addr.Unmap(), uint16(n)), f[state], f[inode]})
	}
	return all
}
