package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"farmboot/setup/lab"
)

// site is the LAN that everything is measured on: a host for farmboot, one for what
// it is compared with, and one for the nodes.
type site struct {
	programs
	template string
	dir      string // of everything that is written
	lan      *lab.LAN
	ours     *lab.Host
	other    *lab.Host
	nodes    *lab.Host
	nodeIPs  []netip.Addr // of the host of the nodes
	running  []stopper    // what a section started
	bin      []byte       // that clients throw things into; nothing ever arrives there
}

// programs are the paths of farmboot, and of another one to compare it with; "": none.
type programs struct{ program, beside string }

type stopper interface{ Stop() error }

// openSite builds the LAN.
func openSite(p programs, template string) (s *site, err error) {
	s = &site{programs: p, template: template, bin: make([]byte, binSize)}
	if s.dir, err = os.MkdirTemp("", "farmboot-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.lan, err = lab.New(lab.Options{Dir: s.dir}); err != nil {
		return nil, err
	}
	for _, host := range []**lab.Host{&s.ours, &s.other, &s.nodes} {
		if *host, err = s.lan.Join(0); err != nil {
			return nil, err
		}
	}
	return s, s.addresses()
}

// addresses gives the host of the nodes several, for servers bound what one address
// may have at once.
func (s *site) addresses() error {
	s.nodeIPs = []netip.Addr{s.nodes.Addr()}
	for i := range 3 {
		extra := netip.AddrFrom4([4]byte{10, 77, 200, byte(i + 1)})
		if err := s.nodes.Do(exec.Command("ip", "addr", "add", extra.String()+"/16", "dev", lab.Interface).Run); err != nil {
			return fmt.Errorf("add address %s: %w", extra, err)
		}
		s.nodeIPs = append(s.nodeIPs, extra)
	}
	return nil
}

// started notes what is to be stopped at the end of the section.
func (s *site) started(p stopper) { s.running = append(s.running, p) }

// stopAll stops what the section started, last first.
func (s *site) stopAll() error {
	var errs []error
	for len(s.running) > 0 {
		last := len(s.running) - 1
		errs = append(errs, s.running[last].Stop())
		s.running = s.running[:last]
	}
	return errors.Join(errs...)
}

func (s *site) close() error {
	err := s.stopAll()
	if s.lan != nil {
		err = errors.Join(err, s.lan.Close())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *site) path(elem ...string) string { return filepath.Join(append([]string{s.dir}, elem...)...) }

// write makes a file, and its folder, under the site's folder.
func (s *site) write(text string, elem ...string) (path string, err error) {
	path = s.path(elem...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// start runs a server on a host. Its log goes to a file without passing through
// us: a reader would cost time that is not the server's.
func (s *site) start(h *lab.Host, log, program string, args ...string) (*lab.Process, error) {
	p, err := h.Start(log, "sh", append([]string{"-c", `exec "$@" 2>>"$0"`, s.path(log + ".err"), program}, args...)...)
	if err != nil {
		return nil, err
	}
	s.started(p)
	return p, nil
}

// window is what a node lets a server send ahead, in bytes. Left to grow by itself,
// a thousand of them may take all memory that the kernel has for TCP: that is
// suspected, not shown, since 1,000 downloads took 73 s in one run of five.
const window = 64 << 10

// dial opens a connection from the host of the nodes.
func (s *site) dial(to *lab.Host, port int) (conn *net.TCPConn, err error) {
	err = s.nodes.Do(func() error {
		conn, err = net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(netip.AddrPortFrom(to.Addr(), uint16(port))))
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn, conn.SetReadBuffer(window)
}

// tail returns the end of a text file, for messages.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-2000):]))
}

// randomFile writes size bytes that no file system and no protocol can shorten.
func randomFile(path string, size int64, from io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, from, size)
	return errors.Join(err, f.Close())
}
