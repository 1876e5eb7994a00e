package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"farmboot/provisioning"
	"farmboot/provisioning/pause"
)

// Config is what a [Server] needs. Every field is required.
type Config struct {
	Responder Responder

	// Recall tells what a MAC address gets, if that is known at once. Assign looks it up. It
	// has 50 ms; if it fails, the client gets what Default says: a broken store must not stop
	// a farm from booting.
	Recall  func(provisioning.MAC) (provisioning.Assignment, bool)
	Assign  func(context.Context, provisioning.MAC) (provisioning.Assignment, error)
	Default func(provisioning.MAC) provisioning.Assignment

	Record provisioning.Record
	// Learn is told which IP address a MAC address asks the DHCP server for, so
	// that whoever knows only the one can tell the other.
	Learn func(netip.Addr, provisioning.MAC)
	// Known tells whether a MAC address that is not registered has booted here before; those
	// come first where too many ask. To have asked before does not count: a flood has, too.
	Known func(context.Context, provisioning.MAC) bool
	// Enrolling tells whether a machine is to be made to trust our key for Secure Boot. It
	// is asked for machines alone that can be enrolled by HTTP Boot.
	Enrolling func(provisioning.MAC) bool
	// Proven returns how a machine booted before; the error is the store's, or that there
	// is nothing. Prove takes note of how one has booted for the first time, and does not
	// wait.
	Proven func(context.Context, provisioning.MAC) (provisioning.Proven, error)
	Prove  func(provisioning.Proven)

	Log     *slog.Logger
	Now     func() time.Time
	Metrics prometheus.Registerer
}

// Server answers what comes in on sockets.
type Server struct {
	Config
	metrics    *metrics
	complaints *rate.Limiter // bounds the log lines about faults of ours
	floods     *rate.Limiter // bounds those about floods
	admission  *admission
	attempts   *attempts
	started    *recent[time.Time] // when a machine's kernel went out
}

// NewServer makes a server and registers its metrics.
func NewServer(c Config) (*Server, error) {
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register dhcp metrics: %w", err)
	}
	return &Server{
		Config: c, metrics: m, complaints: rate.NewLimiter(1, 10), floods: rate.NewLimiter(rate.Every(time.Minute), 1),
		admission: newAdmission(), attempts: newAttempts(), started: newRecent[time.Time](rememberStarted),
	}, nil
}

// workersPerConn packets of a socket are handled at once: while one waits for the
// store, others go on. The queue before them is the socket's receive buffer; when
// that is full the kernel drops, and firmware asks again.
const workersPerConn = 4

// assignTimeout bounds the look-up of a MAC address.
const assignTimeout = 50 * time.Millisecond

// Serve answers packets from all conns until ctx ends, and returns nil then, or
// the first error that makes a socket useless. It closes the conns.
func (s *Server) Serve(ctx context.Context, conns ...*Conn) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, conn := range conns {
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		for range workersPerConn {
			w := &worker{
				Server: s, conn: conn, in: conn.receiver(), out: make([]byte, 0, 1500), frame: make([]byte, 0, 1600),
				packets: newTally(s.metrics.packets, conn.service), replies: newTally(s.metrics.replies, conn.service),
			}
			group.Go(func() error { return w.run(ctx) })
		}
	}
	err := group.Wait()
	for _, conn := range conns {
		conn.Close()
	}
	return err
}

// worker handles the packets of one socket, one at a time, in its own memory.
type worker struct {
	*Server
	conn  *Conn
	in    *receiver
	out   []byte
	frame []byte
	req   dhcpv4.DHCPv4

	packets, replies tally
}

func (w *worker) run(ctx context.Context) error {
	for {
		packet, peer, to, err := w.in.receive()
		switch {
		case err == nil:
			w.handle(ctx, packet, peer, to)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("%s on %s: %w", w.conn.service, w.conn.link.name, err)
		default: // the interface is down, or an ICMP error came back: neither ends a server
			w.Log.Warn("cannot receive", "service", w.conn.service, "iface", w.conn.link.name, "err", err)
			if pause.For(ctx, time.Second) != nil {
				return nil
			}
		}
	}
}

// handle answers one packet and counts what became of it. A panic costs that
// packet only.
func (w *worker) handle(ctx context.Context, packet []byte, peer netip.AddrPort, to netip.Addr) {
	result := resultPanic
	defer func() {
		if p := recover(); p != nil && w.complaints.Allow() {
			w.Log.Error("packet handler panicked", "panic", p, "peer", peer, "stack", string(debug.Stack()))
		}
		w.packets.inc(result)
	}()
	if err := w.answer(ctx, packet, peer, to); err != nil {
		result = errorResult(err)
		w.Log.Debug("packet not answered", "iface", w.conn.link.name, "peer", peer, "reason", err)
		return
	}
	result = resultAnswered
}

// answer is the way of a packet: decode, learn, parse, look up, decide, send. The
// error says why there was no answer.
func (w *worker) answer(ctx context.Context, packet []byte, peer netip.AddrPort, asked netip.Addr) error {
	if err := Decode(packet, &w.req); err != nil {
		return err
	}
	w.learn(peer)
	if mac, up := w.isUp(&w.req, w.conn.service, w.Now()); up {
		w.event(peer, provisioning.Event{MAC: mac, Stage: provisioning.StageUp})
	}
	if _, ok := answerTo(w.req.MessageType(), w.conn.service); !ok {
		return ErrNotForUs
	}
	client, err := ParseClient(&w.req)
	if err != nil {
		if c := w.causeOf(client, err); !c.IsZero() {
			w.refuse(client.MAC, peer, c)
		}
		return err
	}
	if !w.admission.admit(client.MAC, w.conn.service, w.Now(), func() bool { return w.known(ctx, client.MAC) }, w.conn.crowded) {
		if w.floods.Allow() {
			w.Log.Warn("too many machines ask that have not booted here: some have to ask again", "iface", w.conn.link.name, "mac", client.MAC)
		}
		return ErrFlood
	}
	if w.conn.service == ProxyDHCP {
		w.event(peer, provisioning.Event{
			MAC: client.MAC, Stage: provisioning.StageDiscover, Detail: client.String(), IPXE: client.IPXE.Present, Machine: client.Machine(),
		})
	}
	from := w.conn.link.local(&w.req, peer, asked)
	in := Ingress{Service: w.conn.service, Interface: w.conn.link.name, Server: from.Prefix.Addr(), BaseURL: from.BaseURL}
	as := w.assignment(ctx, client.MAC)
	as.Enrolling = client.Program.HTTP && client.Program.Shim && w.Enrolling(client.MAC)
	as.Strategy = w.strategy(ctx, client, in, as)
	reply, err := w.Responder.Reply(client, &w.req, in, as)
	if err != nil {
		w.refuse(client.MAC, peer, w.causeOf(client, err))
		return err
	}
	w.out = Append(w.out[:0], reply)
	to := Destination(&w.req, peer, in)
	if err := w.conn.write(w.frame, w.out, from, to); err != nil {
		if w.complaints.Allow() {
			w.Log.Warn("cannot send reply", "iface", w.conn.link.name, "mac", client.MAC, "to", to, "err", err)
		}
		return err
	}
	w.sent(client, reply, peer)
	return nil
}

// learn takes note of the address that a REQUEST is about: what it asks the DHCP
// server for, or has already.
func (w *worker) learn(peer netip.AddrPort) {
	if t := w.req.MessageType(); t != dhcpv4.MessageTypeRequest && t != dhcpv4.MessageTypeInform {
		return
	}
	mac, ok := hardwareAddr(&w.req)
	if !ok || w.req.OpCode != dhcpv4.OpcodeBootRequest {
		return
	}
	for _, ip := range []net.IP{
		w.req.Options.Get(dhcpv4.OptionRequestedIPAddress),
		w.req.ClientIPAddr,
	} {
		if a, ok := address(ip); ok {
			w.Learn(a, mac)
			w.hear(a)
			return
		}
	}
	if w.conn.service == BootServer && !peer.Addr().IsUnspecified() {
		w.Learn(peer.Addr(), mac)
	}
}

// hear tells the link which address the LAN's DHCP server gave out, where the client
// says that it chose an offer of one (option 54), here and not behind a relay agent.
// A client that asks for its former address may have that from another LAN.
func (w *worker) hear(given netip.Addr) {
	if _, relayed := relayAgent(&w.req); relayed || w.conn.service != ProxyDHCP || !w.req.Options.Has(dhcpv4.OptionServerIdentifier) {
		return
	}
	if w.conn.link.Hear(given) {
		w.Log.Info("machines of this network are told another address of ours", "iface", w.conn.link.name, "address", w.conn.link.Told(), "dhcp_server_gave", given)
	}
}

// assignment looks up what a MAC address gets.
func (w *worker) assignment(ctx context.Context, mac provisioning.MAC) provisioning.Assignment {
	if as, ok := w.Recall(mac); ok {
		return as
	}
	ctx, cancel := context.WithTimeout(ctx, assignTimeout)
	defer cancel()
	as, err := w.Assign(ctx, mac)
	if err != nil {
		as = w.Default(mac)
		if w.complaints.Allow() {
			w.Log.Error("cannot look up node, using the default policy", "mac", mac, "policy", as.Policy, "err", provisioning.Detail(err))
		}
	}
	return as
}

// strategy chooses how a client is brought to its boot program.
func (w *worker) strategy(ctx context.Context, c Client, in Ingress, as provisioning.Assignment) provisioning.Strategy {
	ch := w.Responder.choicesOf(c, in, as.Node.NBP)
	switch {
	case c.IPXE.Ours:
		w.Running(c.MAC)
		return ch.first()
	case IsProbe(c.MAC): // it never fetches anything, and asks what everybody gets
		return ch.first()
	case in.Service == BootServer:
		return w.attempts.current(c, ch)
	}
	return w.attempts.discover(c, &w.req, ch, func() (provisioning.Proven, bool) {
		ctx, cancel := context.WithTimeout(ctx, assignTimeout)
		defer cancel()
		p, err := w.Proven(ctx, c.MAC)
		return p, err == nil
	})
}

// known tells whether the store knows a MAC address.
func (w *worker) known(ctx context.Context, mac provisioning.MAC) bool {
	ctx, cancel := context.WithTimeout(ctx, assignTimeout)
	defer cancel()
	as, err := w.Assign(ctx, mac)
	return err == nil && (as.Registered || w.Known(ctx, mac))
}

// refuse tells why a client that wants to boot gets no answer.
func (w *worker) refuse(mac provisioning.MAC, peer netip.AddrPort, why provisioning.Cause) {
	w.event(peer, provisioning.Event{MAC: mac, Stage: provisioning.StageRefused, Cause: why})
}

// causeOf is why a client that wants to boot gets no answer; the zero value for errors
// that are no matter of a node's.
func (w *worker) causeOf(c Client, err error) provisioning.Cause {
	r, ok := errors.AsType[*Refusal](err)
	if !ok || r == ErrNotEthernet && len(w.req.ClientHWAddr) == len(c.MAC) {
		return provisioning.Cause{}
	}
	why := provisioning.Cause{ID: r.cause}
	switch r {
	case ErrUnknownArch:
		why.Arch, why.Note = archNames(c.archs), string(clip(c.vendor))
	case ErrNotEthernet:
		why.Size, why.Limit = int64(w.req.HWType), int64(len(w.req.ClientHWAddr))
	}
	return why
}

// sent reports a reply that went out.
func (w *worker) sent(c Client, reply *dhcpv4.DHCPv4, peer netip.AddrPort) {
	w.replies.inc(c.Program.Platform)
	stage := provisioning.StageOffer
	if w.conn.service == BootServer {
		stage = provisioning.StageBootServer
	}
	file := reply.BootFileName
	if file == "" {
		file = text(reply.Options.Get(dhcpv4.OptionBootfileName))
	}
	w.event(peer, provisioning.Event{MAC: c.MAC, Stage: stage, File: file})
}

// event records what happened. A node that has no address yet has none here, nor has
// one for which a relay agent speaks: that address is not the node's.
func (w *worker) event(peer netip.AddrPort, e provisioning.Event) {
	e.At = w.Now()
	if _, relayed := relayAgent(&w.req); !relayed && !peer.Addr().IsUnspecified() {
		e.Peer = peer.Addr()
	}
	w.Record(e)
}
