package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pin/tftp/v3/netascii"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"farmboot/provisioning"
)

// File is what a name stands for.
type File struct {
	Name string // for events
	Size int64
	Data io.ReaderAt
}

// Resolver finds the file that a client asks for, by its [CleanName]. local is our
// address that it asked, so that a generated file can name it. An error with code
// [provisioning.NotFound] is a name that we do not have; any other is a fault of
// ours, and logged. The client is told "file not found" either way.
type Resolver func(ctx context.Context, name string, local netip.Addr, peer netip.AddrPort) (File, error)

// Config is what a [Server] needs. Every field is required.
type Config struct {
	Resolve      Resolver
	MaxBlockSize int // bytes, 512…65464: [tftp] max-block-size
	Record       provisioning.Record
	Log          *slog.Logger
	Now          func() time.Time
	Metrics      prometheus.Registerer
}

// Server answers read requests on any number of sockets.
type Server struct {
	Config
	metrics *metrics
	limits  *limits

	stallLimit time.Duration
	complaints *rate.Limiter // bounds the log lines about clients that find no room
}

// NewServer makes a server and registers its metrics.
func NewServer(c Config) (*Server, error) {
	s := &Server{Config: c, limits: newLimits(), stallLimit: defaultStallLimit, complaints: rate.NewLimiter(rate.Every(time.Minute), 1)}
	var err error
	if s.metrics, err = newMetrics(c.Metrics, s.limits.count); err != nil {
		return nil, fmt.Errorf("register tftp metrics: %w", err)
	}
	return s, nil
}

// grace is what transfers under way get to finish when the server stops.
const grace = 2 * time.Second

// Serve answers requests that come in on conn until ctx ends, and returns nil
// then, after the transfers under way have ended, two seconds later at most. It
// closes conn, which must be bound to one of our addresses: transfers start from
// that address too, for clients drop what comes from another one.
func (s *Server) Serve(ctx context.Context, conn *net.UDPConn) error {
	defer conn.Close()
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if local.IsUnspecified() {
		return fmt.Errorf("serve tftp: socket is bound to %s, not to an address of ours", conn.LocalAddr())
	}
	transfers, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var running sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	buf := make([]byte, 1500)
	for {
		n, peer, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case err == nil:
			s.accept(transfers, &running, buf[:n], local, netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()))
			continue
		case ctx.Err() != nil:
			time.AfterFunc(grace, cut)
			running.Wait()
			return nil
		case errors.Is(err, net.ErrClosed):
			cut()
			running.Wait()
			return fmt.Errorf("serve tftp on %s: %w", local, err)
		}
		// The interface is down, say: that does not end a server.
		s.Log.Warn("cannot receive", "service", "tftp", "local", local, "err", err)
		pause(ctx, time.Second)
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// accept starts the answer to a request, unless it is one too many.
func (s *Server) accept(ctx context.Context, running *sync.WaitGroup, b []byte, local netip.Addr, peer netip.AddrPort) {
	req, ok := parseRequest(b)
	if !ok || peer.Port() == 0 {
		s.count(resultMalformed)
		return
	}
	a, refused := s.limits.begin(transferKey{peer, string(b)}, s.Now())
	if refused != "" {
		s.count(refused)
		if refused == resultBusy && s.complaints.Allow() {
			s.Log.Warn("too many transfers at once: some clients have to ask again", "peer", peer, "active", s.limits.count())
		}
		return
	}
	running.Go(func() {
		defer s.limits.end(a)
		s.count(s.answer(ctx, req, local, peer, func() { s.limits.answered(a, s.Now()) }))
	})
}

func (s *Server) count(result string) { s.metrics.requests.WithLabelValues(result).Inc() }

// answer deals with one request, from a socket of its own (RFC 1350 section 4:
// its port is the transfer's id), and says what became of it. begun is called when the
// client has our answer.
func (s *Server) answer(ctx context.Context, req request, local netip.Addr, peer netip.AddrPort, begun func()) (result string) {
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)), net.UDPAddrFromAddrPort(peer))
	if err != nil {
		s.Log.Error("cannot open socket for transfer", "peer", peer, "err", err)
		return resultError
	}
	defer conn.Close()
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("transfer panicked", "panic", p, "peer", peer, "file", req.name, "stack", string(debug.Stack()))
			refuse(conn)
			result = resultPanic
		}
	}()
	if req.write {
		s.Log.Debug("write request refused", "peer", peer, "file", req.name)
		refuse(conn)
		return resultWrite
	}
	file, err := s.open(ctx, req, local, peer)
	if err != nil {
		refuse(conn)
		return s.refused(err, req, peer)
	}
	return s.send(ctx, conn, file, req, peer, begun)
}

// refuse tells the client the one thing that it is ever told.
func refuse(conn *net.UDPConn) {
	_, _ = conn.Write(appendError(nil, errorFileNotFound, fileNotFound)) // if it is lost, the client asks again
}

// open finds the file, in the client's representation of it.
func (s *Server) open(ctx context.Context, req request, local netip.Addr, peer netip.AddrPort) (File, error) {
	name := CleanName(req.name)
	if name == "" {
		return File{}, provisioning.Errorf(provisioning.NotFound, "no file has this name")
	}
	file, err := s.Resolve(ctx, name, local, peer)
	if err != nil || req.mode != "netascii" {
		return file, err
	}
	// What people's TFTP clients ask for unless told otherwise (RFC 1350 section
	// 1); firmware never does.
	text, err := io.ReadAll(netascii.ToReader(io.NewSectionReader(file.Data, 0, file.Size)))
	if err != nil {
		return File{}, fmt.Errorf("convert %s to netascii: %w", name, err)
	}
	return File{Name: file.Name, Size: int64(len(text)), Data: bytes.NewReader(text)}, nil
}

// refused reports a name that gave no file.
func (s *Server) refused(err error, req request, peer netip.AddrPort) string {
	if provisioning.ErrorCode(err) != provisioning.NotFound {
		s.Log.Error("cannot serve file", "peer", peer, "file", clip(req.name), "err", err)
		return resultError
	}
	s.Record(provisioning.Event{
		At: s.Now(), Peer: peer.Addr(), Stage: provisioning.StageRefused,
		Detail: fmt.Sprintf("no file %q by TFTP", clip(req.name)),
	})
	return resultNotFound
}

// clip shortens what a stranger sent to what fits in a line.
func clip(name string) string { return name[:min(len(name), 80)] }

// send transfers the file and reports how that went.
func (s *Server) send(ctx context.Context, conn *net.UDPConn, file File, req request, peer netip.AddrPort, begun func()) string {
	terms, agreed := Negotiate(req.options, file.Size, s.MaxBlockSize)
	t := &transfer{conn: conn, data: file.Data, size: file.Size, terms: terms, limit: s.stallLimit, begun: begun}
	start := s.Now()
	err := t.run(ctx, agreed)
	now := s.Now()
	sent := min(t.acked*int64(terms.BlockSize), file.Size)
	s.metrics.bytes.Add(float64(sent))
	report := func() {
		s.Record(provisioning.Event{
			At: now, Peer: peer.Addr(), Stage: provisioning.StageNBP, Detail: file.Name + " by TFTP",
			Bytes: sent, Size: file.Size, Duration: now.Sub(start),
		})
	}
	switch {
	case err == nil:
		report()
		return resultCompleted
	case errors.Is(err, errAborted): // clients ask for the size first, and end there
		s.Log.Debug("transfer ended by client", "peer", peer, "file", file.Name, "bytes", sent)
		return resultAborted
	case errors.Is(err, errStopping):
		s.Log.Info("transfer cut: stopping", "peer", peer, "file", file.Name, "bytes", sent)
		return resultStopped
	case errors.Is(err, errStalled):
		s.Log.Warn("transfer stalled", "peer", peer, "file", file.Name, "bytes", sent, "size", file.Size)
		if sent > 0 {
			report() // fewer bytes than the size
		}
		return resultStalled
	}
	s.Log.Error("transfer failed", "peer", peer, "file", file.Name, "err", err)
	return resultError
}
