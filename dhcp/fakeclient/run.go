package fakeclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Sockets are what a machine speaks through.
type Sockets struct {
	Client     net.PacketConn // port 68
	BootServer net.PacketConn // port 4011, from which UEFI asks a boot server; nil if it is taken: then port 68
}

// Close closes both.
func (s Sockets) Close() error {
	if s.BootServer == nil {
		return s.Client.Close()
	}
	return errors.Join(s.Client.Close(), s.BootServer.Close())
}

// Run plays a machine on a network until it has come to a result or ctx ends. The
// error is about sockets; all that the machine meets is in the result.
func Run(ctx context.Context, p Persona, id Identity, sockets Sockets) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := runner{sockets: sockets, received: make(chan Packet)}
	for _, conn := range []net.PacketConn{sockets.Client, sockets.BootServer} {
		if conn == nil {
			continue
		}
		if err := conn.SetReadDeadline(time.Time{}); err != nil {
			cancel()
			return Result{}, err
		}
		// Waited for like the readers: a deadline set late would end the next Run's reads.
		r.readers.Go(func() {
			<-ctx.Done()
			_ = conn.SetReadDeadline(time.Unix(1, 0))
		})
		r.readers.Go(func() { r.read(ctx, conn) })
	}
	defer r.readers.Wait()
	defer cancel()
	return r.run(ctx, p, id)
}

type runner struct {
	sockets  Sockets
	received chan Packet
	readers  sync.WaitGroup
}

// read hands on what comes in until ctx ends.
func (r *runner) read(ctx context.Context, conn net.PacketConn) {
	buf := make([]byte, 2048)
	for ctx.Err() == nil {
		n, from, err := conn.ReadFrom(buf)
		peer, ok := from.(*net.UDPAddr)
		if err != nil || !ok {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		p := Packet{From: unmap(peer), Data: append([]byte(nil), buf[:n]...)}
		if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
			p.To = unmap(local)
		}
		select {
		case r.received <- p:
		case <-ctx.Done():
		}
	}
}

func unmap(a *net.UDPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func (r *runner) run(ctx context.Context, p Persona, id Identity) (Result, error) {
	m, step := p.Start(id)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for _, packet := range step.Send {
			if err := r.send(packet); err != nil {
				return m.GiveUp(), fmt.Errorf("send as %s to %s: %w", p.Name, packet.To, err)
			}
		}
		if step.Done != nil {
			return *step.Done, nil
		}
		if step.Wait > 0 {
			timer.Reset(step.Wait)
		}
		select {
		case packet := <-r.received:
			step = m.Receive(packet)
		case <-timer.C:
			step = m.Expire()
		case <-ctx.Done():
			return m.GiveUp(), nil
		}
	}
}

func (r *runner) send(p Packet) error {
	conn := r.sockets.Client
	if p.From.Port() == bootServerPort && r.sockets.BootServer != nil {
		conn = r.sockets.BootServer
	}
	_, err := conn.WriteTo(p.Data, net.UDPAddrFromAddrPort(p.To))
	return err
}
