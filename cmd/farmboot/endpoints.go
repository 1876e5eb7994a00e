package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"farmboot/dhcp"
	"farmboot/http/api"
	"farmboot/provisioning/logonce"
	"farmboot/provisioning/pause"
	"farmboot/setup"
	"farmboot/setup/lan"
	apptftp "farmboot/tftp"
)

// endpoints keeps what listens on the LANs in step with the network: the sockets of
// DHCP, which are bound to an interface, and those of TFTP, which are bound to an
// address. HTTP needs none of this: it listens on all addresses that there ever are.
type endpoints struct {
	*appliance
	dhcp *dhcp.Server    // nil: [dhcp] enabled = false
	tftp *apptftp.Server // nil: [tftp] enabled = false

	open  map[endpointKey]*endpoint // of whoever runs apply
	ended chan struct{}             // an endpoint has ended by itself
	begun chan struct{}             // closed when follow has said "ready", or cannot yet

	mu     sync.Mutex
	failed map[endpointKey]error // why they are not open
	list   []api.Listener        // what is open
}

// endpointKey is what an endpoint is bound to for its whole life.
type endpointKey struct {
	service string // "dhcp" or "tftp"
	iface   string // of DHCP
	index   int    // of that interface: one that was made anew has another
	addr    netip.Addr
}

func (k endpointKey) String() string {
	if k.iface != "" {
		return k.service + " on " + k.iface
	}
	return k.service + " on " + k.addr.String()
}

// endpoint is a service that listens.
type endpoint struct {
	link      *dhcp.Link // of DHCP
	sockets   []func() error
	listeners []api.Listener
	serve     func(context.Context) error
	cancel    context.CancelFunc
	done      chan struct{} // closed when it has ended
}

// retry is how long after a failure sockets are tried again.
const retry = 2 * time.Second

// newEndpoints makes the servers; nothing is open yet.
func newEndpoints(ctx context.Context, a *appliance) (*endpoints, error) {
	e := &endpoints{appliance: a, open: make(map[endpointKey]*endpoint), ended: make(chan struct{}, 1), begun: make(chan struct{})}
	var err error
	if a.cfg.DHCP.Enabled {
		if e.dhcp, err = a.newDHCP(ctx); err != nil {
			return nil, err
		}
	}
	if a.cfg.TFTP.Enabled {
		if e.tftp, err = a.newTFTP(); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// follow keeps the sockets in step with the network until ctx ends, and returns nil
// then. ready is called once, when all is open that the configuration wants.
func (e *endpoints) follow(ctx context.Context, ready func()) error {
	defer e.close()
	begun := sync.OnceFunc(func() { close(e.begun) })
	listening := logonce.Series{Log: e.log, Level: slog.LevelError, Fault: "cannot listen, trying again", End: "all that can be listened on is open again"}
	for {
		view := e.network.View()
		err := e.apply(ctx, view)
		listening.Report(err)
		if ready != nil && err == nil && len(view.Missing) == 0 {
			ready()
			ready = nil
		}
		begun()
		var again <-chan time.Time
		if err != nil {
			again = time.After(retry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-view.Outdated():
			e.authority.Check()
		case <-again:
		case <-e.ended:
		}
	}
}

// apply closes what has no place in the network any more and opens what is not open
// yet. The error is about what did not open.
func (e *endpoints) apply(ctx context.Context, view *lan.View) error {
	wanted := e.wanted(view)
	for key, o := range e.open {
		select {
		case <-o.done:
			delete(e.open, key)
			continue
		default:
		}
		if _, ok := wanted[key]; !ok {
			o.shut() // its transfers may go on for a while
			delete(e.open, key)
		}
	}
	failed := make(map[endpointKey]error)
	for key, i := range wanted {
		if o := e.open[key]; o != nil {
			if o.link != nil {
				o.link.Set(locals(view, i)...)
			}
			continue
		}
		o, err := e.listen(ctx, key, view, i)
		if err != nil {
			failed[key] = err
			continue
		}
		e.open[key] = o
		e.start(ctx, key, o)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed, e.list = failed, nil
	for _, o := range e.open {
		e.list = append(e.list, o.listeners...)
	}
	slices.SortFunc(e.list, func(a, b api.Listener) int {
		return strings.Compare(a.Service+a.Interface+a.Address, b.Service+b.Interface+b.Address)
	})
	return errors.Join(slices.Collect(maps.Values(failed))...)
}

// wanted returns what is to be open, and for which interface.
func (e *endpoints) wanted(view *lan.View) map[endpointKey]setup.Interface {
	wanted := make(map[endpointKey]setup.Interface)
	for _, i := range view.LANs {
		if e.dhcp != nil {
			wanted[endpointKey{service: "dhcp", iface: i.Name, index: i.Index}] = i
		}
		for _, p := range i.Prefixes {
			if e.tftp != nil {
				wanted[endpointKey{service: "tftp", addr: p.Addr()}] = i
			}
		}
	}
	return wanted
}

// locals are our addresses on an interface, as DHCP needs them.
func locals(view *lan.View, i setup.Interface) []dhcp.Local {
	list := make([]dhcp.Local, len(i.Prefixes))
	for n, p := range i.Prefixes {
		list[n] = dhcp.Local{Prefix: p, BaseURL: view.URLs(p.Addr()).Base}
	}
	return list
}

// listen opens the sockets of an endpoint.
func (e *endpoints) listen(ctx context.Context, key endpointKey, view *lan.View, i setup.Interface) (*endpoint, error) {
	if key.service == "tftp" {
		conn, err := apptftp.Listen(ctx, key.addr, int(e.cfg.TFTP.Port))
		if err != nil {
			return nil, err
		}
		return &endpoint{
			sockets:   []func() error{conn.Close},
			listeners: []api.Listener{{Service: "tftp", Address: "udp " + conn.LocalAddr().String(), Interface: i.Name}},
			serve:     func(ctx context.Context) error { return e.tftp.Serve(ctx, conn) },
		}, nil
	}
	o := &endpoint{link: dhcp.NewLink(i.Name, i.Index, locals(view, i)...)}
	var conns []*dhcp.Conn
	for _, s := range []struct {
		service dhcp.Service
		port    uint16
	}{{dhcp.ProxyDHCP, e.cfg.DHCP.Port}, {dhcp.BootServer, e.cfg.DHCP.BootServerPort}} {
		conn, err := dhcp.Listen(ctx, s.service, o.link, int(s.port))
		if err != nil {
			return nil, errors.Join(err, o.closeSockets())
		}
		conns = append(conns, conn)
		o.sockets = append(o.sockets, conn.Close)
		o.listeners = append(o.listeners, api.Listener{Service: string(s.service), Address: "udp " + conn.LocalAddr().String(), Interface: i.Name})
	}
	o.serve = func(ctx context.Context) error {
		e.ask(ctx, i.Name, o.link)
		var asking sync.WaitGroup
		defer asking.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		asking.Go(func() { e.keepAsking(ctx, i.Name, o.link) })
		return e.dhcp.Serve(ctx, conns...)
	}
	return o, nil
}

// askAgain is how often the LAN's DHCP server is asked for its network, while it is
// not known and we have addresses in several.
const askAgain = 10 * time.Second

// keepAsking asks until ctx ends: addresses of ours may come at any time.
func (e *endpoints) keepAsking(ctx context.Context, iface string, link *dhcp.Link) {
	for pause.For(ctx, askAgain) == nil {
		e.ask(ctx, iface, link)
	}
}

// ask finds out which of our addresses there machines are to be told, if that is not
// known: the one in the network that the DHCP server gives addresses of.
func (e *endpoints) ask(ctx context.Context, iface string, link *dhcp.Link) {
	if !link.Undecided() {
		return
	}
	offered, err := dhcp.Ask(ctx, iface)
	if err != nil {
		e.log.Debug("no DHCP server tells which of our addresses machines can reach", "iface", iface, "using", link.Told(), "err", err)
		return
	}
	link.Hear(offered)
	e.log.Info("machines are told our address in the DHCP server's network", "iface", iface, "address", link.Told(), "offered", offered)
}

// start runs an endpoint until ctx ends or it is shut.
func (e *endpoints) start(ctx context.Context, key endpointKey, o *endpoint) {
	ctx, o.cancel = context.WithCancel(ctx)
	o.done = make(chan struct{})
	go func() {
		defer close(o.done)
		err := o.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		e.log.Error("listener ended, opening it anew", "listener", key, "err", err)
		o.shut()
		select {
		case e.ended <- struct{}{}:
		default:
		}
	}()
}

// shut closes the sockets at once; what serves them ends by itself.
func (o *endpoint) shut() {
	o.cancel()
	_ = o.closeSockets() // the second time it is an error
}

func (o *endpoint) closeSockets() error {
	var all error
	for _, shut := range o.sockets {
		all = errors.Join(all, shut())
	}
	return all
}

// close ends all endpoints.
func (e *endpoints) close() {
	for _, o := range e.open {
		o.shut()
	}
	for key, o := range e.open {
		<-o.done
		delete(e.open, key)
	}
}

// listeners are the sockets that are open.
func (e *endpoints) listeners() []api.Listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

// problems say why nodes cannot be served on some LANs.
func (e *endpoints) problems() []string {
	list := slices.Clone(e.network.View().Missing)
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, err := range e.failed {
		list = append(list, fmt.Sprintf("%s: %v", key, err))
	}
	slices.Sort(list)
	return list
}
