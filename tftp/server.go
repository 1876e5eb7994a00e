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
	"farmboot/provisioning/pause"
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

// ErrProbed is what a [Resolver] returns for a name that clients ask for whether or not
// there is such a file. It is no event.
var ErrProbed = errors.New("no such file, nor need there be one")

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

	timeouts   timeouts
	openSocket func(local netip.Addr, peer netip.AddrPort) (socket, error)
	singly     sync.Once // has told that windows are sent packet by packet

	fullLines *rate.Limiter // bounds the log lines about clients that find no room
	faults    *rate.Limiter // bounds those about what went wrong
}

// NewServer makes a server and registers its metrics.
func NewServer(c Config) (*Server, error) {
	s := &Server{
		Config: c, limits: newLimits(),
		timeouts: timeouts{stalled: defaultStallLimit, silent: defaultSilentLimit}, openSocket: openSocket,
		fullLines: rate.NewLimiter(rate.Every(time.Minute), 1), faults: rate.NewLimiter(1, 10),
	}
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
	l, err := newLoop(s.unsegmented)
	if err != nil {
		return fmt.Errorf("serve tftp on %s: %w", local, err)
	}
	var thread sync.WaitGroup
	thread.Go(l.run)
	defer thread.Wait()
	defer l.close()
	transfers, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	cut := func() { cancel(errStopping) }
	defer cut()
	var running sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	buf := make([]byte, 1500)
	for {
		n, peer, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case err == nil:
			s.accept(transfers, &running, l, buf[:n], local, netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()))
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
		_ = pause.For(ctx, time.Second) // when ctx ends, conn is closed
	}
}

// unsegmented tells, once, that windows are sent packet by packet.
func (s *Server) unsegmented(err error) {
	s.singly.Do(func() {
		s.Log.Debug("windows are sent packet by packet: the kernel or a network card does not cut them (UDP_SEGMENT)", "err", err)
	})
}

// accept starts the answer to a request, unless it is one too many. running counts
// answers, until the transfer is over.
func (s *Server) accept(ctx context.Context, running *sync.WaitGroup, l *loop, b []byte, local netip.Addr, peer netip.AddrPort) {
	req, ok := parseRequest(b)
	if !ok || peer.Port() == 0 {
		s.count(resultMalformed)
		return
	}
	ctx, cut := context.WithCancelCause(ctx)
	a, refused := s.limits.begin(transferKey{peer, string(b)}, s.Now(), func() { cut(errDisplaced) })
	if refused != "" {
		cut(nil)
		s.count(refused)
		if refused == resultBusy && s.fullLines.Allow() {
			s.Log.Warn("too many transfers at once: some clients have to ask again", "peer", peer, "active", s.limits.count())
		}
		return
	}
	over := func(result string) {
		cut(nil)
		s.limits.end(a)
		s.count(result)
	}
	running.Go(func() {
		c, file, result := s.answer(ctx, req, local, peer)
		if c == nil {
			over(result)
			return
		}
		running.Add(1)
		start := s.Now()
		stop := context.AfterFunc(ctx, func() { l.end(c, context.Cause(ctx)) })
		c.answered = func() { s.limits.answered(a, s.Now()) }
		c.done = func(end error) {
			defer running.Done()
			stop()
			over(s.report(c.transfer, end, file, peer, s.Now().Sub(start)))
		}
		l.start(c)
	})
}

func (s *Server) count(result string) { s.metrics.requests.WithLabelValues(result).Inc() }

// fault logs what went wrong, unless there is too much of it: strangers can cause it.
func (s *Server) fault(level slog.Level, message string, attrs ...any) {
	if s.faults.Allow() {
		s.Log.Log(context.Background(), level, message, attrs...)
	}
}

// answer deals with one request, from a socket of its own. It returns the transfer that
// is to be carried out; where there is none, what became of the request.
func (s *Server) answer(ctx context.Context, req request, local netip.Addr, peer netip.AddrPort) (c *carried, file File, result string) {
	socket, err := s.openSocket(local, peer)
	if err != nil {
		s.fault(slog.LevelError, "cannot open socket for transfer", "peer", peer, "err", err)
		return nil, file, resultError
	}
	defer func() {
		if p := recover(); p != nil {
			result = s.panicked(&panicError{p, debug.Stack()}, req.name, peer)
		}
		if c == nil {
			_ = socket.send(appendError(nil, errorFileNotFound, fileNotFound)) // if it is lost, the client asks again
			socket.close()
		}
	}()
	if req.write {
		s.Log.Debug("write request refused", "peer", peer, "file", req.name)
		return nil, file, resultWrite
	}
	if file, err = s.find(ctx, req, local, peer); err != nil {
		return nil, file, s.refused(err, req, peer)
	}
	terms, agreed := Negotiate(req.options, file.Size, s.MaxBlockSize)
	return &carried{socket: socket, transfer: newTransfer(file.Data, file.Size, terms, agreed, s.timeouts)}, file, ""
}

// panicked logs what cost a request or a transfer.
func (s *Server) panicked(p *panicError, name string, peer netip.AddrPort) string {
	s.fault(slog.LevelError, "transfer panicked", "panic", p.value, "peer", peer, "file", clip(name), "stack", string(p.stack))
	return resultPanic
}

// find finds the file, in the client's representation of it.
func (s *Server) find(ctx context.Context, req request, local netip.Addr, peer netip.AddrPort) (File, error) {
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
	if errors.Is(err, ErrProbed) {
		return resultNotFound
	}
	if provisioning.ErrorCode(err) != provisioning.NotFound {
		s.fault(slog.LevelError, "cannot serve file", "peer", peer, "file", clip(req.name), "err", err)
		return resultError
	}
	s.Record(provisioning.Event{
		At: s.Now(), Peer: peer.Addr(), Stage: provisioning.StageRefused,
		Cause: provisioning.Cause{ID: provisioning.CauseFileUnknown, File: clip(req.name), Server: "TFTP"},
	})
	return resultNotFound
}

// clip shortens what a stranger sent to what fits in a line.
func clip(name string) string { return name[:min(len(name), 80)] }

// report says how a transfer came to its end, and returns what metrics count.
func (s *Server) report(t *transfer, end error, file File, peer netip.AddrPort, took time.Duration) string {
	sent := t.sent()
	s.metrics.bytes.Add(float64(sent))
	record := func() {
		s.Record(provisioning.Event{
			At: s.Now(), Peer: peer.Addr(), Stage: provisioning.StageNBP, File: file.Name, Via: "TFTP",
			Bytes: sent, Size: file.Size, Duration: took,
		})
	}
	how, ok := errors.AsType[*ending](end)
	switch {
	case how == errCompleted:
		record()
	case how == errStopping:
		s.Log.Info("transfer cut: stopping", "peer", peer, "file", file.Name, "bytes", sent)
	case how == errStalled:
		s.fault(slog.LevelWarn, "transfer stalled", "peer", peer, "file", file.Name, "bytes", sent, "size", file.Size)
		if sent > 0 {
			record() // fewer bytes than the size
		}
	case ok: // clients ask for the size first, and end there
		s.Log.Debug(how.text, "peer", peer, "file", file.Name, "bytes", sent)
	default:
		if p, ok := errors.AsType[*panicError](end); ok {
			return s.panicked(p, file.Name, peer)
		}
		s.fault(slog.LevelError, "transfer failed", "peer", peer, "file", file.Name, "err", end)
		return resultError
	}
	return how.result
}
