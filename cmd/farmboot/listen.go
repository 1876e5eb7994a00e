package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"farmboot/dhcp"
	apphttp "farmboot/http"
	"farmboot/http/api"
	"farmboot/ipxe/catalog"
	"farmboot/provisioning"
	"farmboot/provisioning/logonce"
	"farmboot/provisioning/owner"
	"farmboot/provisioning/pause"
	"farmboot/setup"
	apptftp "farmboot/tftp"
)

// sockets are the services whose sockets are open.
type sockets struct {
	services []service
	closers  []func() error
}

// add notes a service, and how to close its socket as long as it does not run.
func (s *sockets) add(name string, closer func() error, run func(context.Context) error) {
	s.services = append(s.services, service{name, run})
	if closer != nil {
		s.closers = append(s.closers, closer)
	}
}

// listen opens every socket, or none.
func (a *appliance) listen(ctx context.Context) ([]service, error) {
	var s sockets
	s.add("recorder", nil, a.recorder.Run)
	s.add("alerts", nil, a.teller.Run)
	if len(a.cfg.Alerts) > 0 && a.cfg.DHCP.Enabled {
		s.add("other boot servers", nil, a.runRivals)
	}
	s.add("template check", nil, a.firstTemplateCheck)
	s.add("health", nil, a.health.run)
	s.add("watchdog", nil, watchdog)
	s.add("proven strategies", nil, a.storeProven)
	s.add("rollout", nil, a.runRollout)
	if a.upstream != nil {
		s.add("upstream", nil, a.runUpstream)
	}
	if a.secure != nil {
		s.add("signed kernels", nil, a.signKernels)
	}
	for _, open := range []func(context.Context, *sockets) error{a.listenHTTP, a.listenTLS, a.listenSocket, a.listenLANs} {
		if err := open(ctx, &s); err != nil {
			for _, shut := range s.closers {
				err = errors.Join(err, shut())
			}
			return nil, err
		}
	}
	return s.services, nil
}

// serveHTTP notes a service that answers on ln.
func (a *appliance) serveHTTP(s *sockets, name string, ln net.Listener, parts ...apphttp.Routes) {
	plane := apphttp.Plane(parts...)
	a.fixed = append(a.fixed, api.Listener{Service: name, Address: ln.Addr().Network() + " " + ln.Addr().String()})
	s.add(name, ln.Close, func(ctx context.Context) error { return apphttp.Serve(ctx, ln, plane, a.log) })
}

func (a *appliance) listenHTTP(ctx context.Context, s *sockets) error {
	ln, err := listenTCP(ctx, "[http] port", a.cfg.HTTP.Port)
	if err != nil {
		return err
	}
	a.serveHTTP(s, "http", ln, a.boot, a.pages, a.adminLink, a.apiTLS)
	return nil
}

func (a *appliance) listenTLS(ctx context.Context, s *sockets) error {
	ln, err := listenTCP(ctx, "[http] tls-port", a.cfg.HTTP.TLSPort)
	if err != nil {
		return err
	}
	if err := a.authority.Renew(); err != nil {
		a.log.Error("server certificate", "err", err) // its service tries again
	}
	s.add("board", nil, a.board.Run)
	s.add("wake", nil, a.waker.Run)
	s.add("certificate renewal", nil, a.authority.Run)
	a.serveHTTP(s, "https", apphttp.TLSListener(ln, a.authority.Config()), a.boot, a.pages, a.admin, a.api)
	return nil
}

// listenTCP opens a port on all addresses of this host.
func listenTCP(ctx context.Context, key string, port uint16) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", fmt.Sprintf(":%d", port))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("TCP port %d (%s) is in use: stop the program that has it (see: ss -ltnp), or choose another port", port, key)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("TCP port %d (%s) needs root, or the capability CAP_NET_BIND_SERVICE", port, key)
	case err != nil:
		return nil, fmt.Errorf("listen on TCP port %d (%s): %w", port, key, err)
	}
	return ln, nil
}

// alone refuses a state folder with which a daemon runs already.
func alone(ctx context.Context, cfg setup.Config) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", cfg.Socket())
	if err != nil {
		return nil
	}
	return errors.Join(provisioning.Errorf(provisioning.Conflict, "another farmboot runs with state folder %s already: stop it first, or give this one another", cfg.State), c.Close())
}

// listenSocket opens the admin socket, for which file permissions are the
// password. One that a killed daemon left is replaced; one that a daemon answers
// on is not. On a disk that can only be read there is none: nodes boot all the same.
func (a *appliance) listenSocket(ctx context.Context, s *sockets) error {
	path := a.cfg.Socket()
	if err := alone(ctx, a.cfg); err != nil { // another may have begun since we did
		return err
	}
	err := os.Remove(path)
	if errors.Is(err, syscall.EROFS) { // even if there is nothing to remove
		a.log.Warn("no admin socket: the state folder can only be read", "err", err)
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	ln, err := listenUnix(ctx, path)
	if err != nil {
		return fmt.Errorf("open the admin socket: %w", err)
	}
	a.fixed = append(a.fixed, api.Listener{Service: "socket", Address: "unix " + path})
	s.add("socket", ln.Close, func(ctx context.Context) error { return a.serveSocket(ctx, ln) })
	return nil
}

// socketEvery is how often we look whether the admin socket is still in its place.
const socketEvery = 2 * time.Second

// serveSocket serves the admin plane on ln, and makes the socket anew when it is gone,
// with the state folder perhaps.
func (a *appliance) serveSocket(ctx context.Context, ln net.Listener) error {
	path := a.cfg.Socket()
	plane := apphttp.Plane(a.boot, a.local)
	tick := time.NewTicker(socketEvery)
	defer tick.Stop()
	for {
		made, _ := os.Stat(path) // gone at once: nil
		serving, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- apphttp.Serve(serving, ln, plane, a.log) }()
		for here := true; here; {
			select {
			case err := <-ended:
				stop()
				return err
			case <-tick.C:
				now, err := os.Stat(path)
				here = err == nil && made != nil && os.SameFile(made, now)
			}
		}
		// The old one must not take the new one's name away when it is closed.
		if u, ok := ln.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		stop()
		if err := <-ended; err != nil {
			return err
		}
		var err error
		if ln, err = a.reopenSocket(ctx, path); err != nil {
			return nil // ctx has ended
		}
	}
}

// reopenSocket makes the admin socket anew, as soon as it can be.
func (a *appliance) reopenSocket(ctx context.Context, path string) (net.Listener, error) {
	opening := logonce.Series{Log: a.log, Level: slog.LevelError, Fault: "the admin socket is gone and cannot be made anew"}
	for {
		err := owner.MkdirAll(a.cfg.State, 0o750)
		if err == nil {
			_ = os.Remove(path) // another's, or none
			var ln net.Listener
			if ln, err = listenUnix(ctx, path); err == nil {
				a.log.Warn("the admin socket was gone, and was made anew: was the state folder deleted?", "socket", path)
				return ln, nil
			}
		}
		opening.Report(err)
		if err := pause.For(ctx, socketEvery); err != nil {
			return nil, err
		}
	}
}

// listenUnix opens a socket that only its owner may open. The file is made with the
// mode that the socket has when it is bound (Linux, unix_bind), so there is no
// moment at which others could.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var chmod error
		err := raw.Control(func(fd uintptr) { chmod = syscall.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmod)
	}}
	return lc.Listen(ctx, "unix", path)
}

// listenLANs opens DHCP and TFTP on the LANs that are there; others may come later.
func (a *appliance) listenLANs(ctx context.Context, s *sockets) error {
	e, err := newEndpoints(ctx, a)
	if err != nil {
		return err
	}
	// What opens now runs at once, for as long as the endpoints do.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	if err := e.apply(running, a.network.View()); err != nil {
		stop()
		e.close()
		return err
	}
	a.endpoints = e
	s.add("network", a.network.Close, a.network.Run)
	s.add("lans", nil, func(ctx context.Context) error {
		defer stop()
		return e.follow(ctx, func() { a.ready(ctx) })
	})
	return nil
}

// newDHCP makes the server of DHCP and the PXE boot server.
func (a *appliance) newDHCP(ctx context.Context) (*dhcp.Server, error) {
	s, err := dhcp.NewServer(dhcp.Config{
		Responder: dhcp.Responder{HTTPPort: a.cfg.HTTP.Port, TFTP: a.cfg.TFTP.Enabled, Signed: a.cfg.IPXE.Autoexec || a.secure.pair(), Shim: a.secure.shim()},
		Recall:    a.assigner.Recall,
		Assign:    a.assigner.Assignment,
		Default:   a.assigner.LastKnown,
		Record:    a.record, Learn: a.learn, Known: a.known,
		Enrolling: a.enrolsByHTTP,
		Proven:    a.store.Proven, Prove: a.prove,
		Log: a.log, Now: a.now, Metrics: a.metrics,
	})
	if err != nil {
		return nil, err
	}
	a.progress.Store(s)
	a.readStarted(ctx, s)
	return s, nil
}

// enrolsByHTTP tells whether a node is to be enrolled by a disk that HTTP Boot fetches.
func (a *appliance) enrolsByHTTP(mac provisioning.MAC) bool {
	return a.secure != nil && a.secure.HasMokManager() && a.secure.Enrolling(mac)
}

// newTFTP makes the TFTP server.
func (a *appliance) newTFTP() (*apptftp.Server, error) {
	return apptftp.NewServer(apptftp.Config{
		Resolve: func(_ context.Context, name string, local netip.Addr, _ netip.AddrPort) (apptftp.File, error) {
			if catalog.Probed(name) {
				return apptftp.File{}, apptftp.ErrProbed
			}
			f, err := a.catalog.Program(name, local)
			if err != nil {
				return apptftp.File{}, err
			}
			return apptftp.File{Name: f.Name, Size: f.Content.Size(), Data: f.Content}, nil
		},
		MaxBlockSize: a.cfg.TFTP.MaxBlockSize,
		Record:       a.fetched,
		Log:          a.log, Now: a.now, Metrics: a.metrics,
	})
}
