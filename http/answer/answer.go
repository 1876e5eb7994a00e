package answer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"farmboot/provisioning"
)

// Handler answers a request, or returns why not and has written nothing then.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Failure writes an error as the answer: [Plain] or [JSON].
type Failure func(w http.ResponseWriter, r *http.Request, err error)

// Adapter makes handlers. It is safe for concurrent use.
type Adapter struct {
	log      *slog.Logger
	now      func() time.Time
	requests *prometheus.CounterVec
	sent     *prometheus.CounterVec
}

// NewAdapter returns an adapter that logs to log and counts in reg.
func NewAdapter(log *slog.Logger, now func() time.Time, reg prometheus.Registerer) *Adapter {
	a := &Adapter{
		log: log, now: now,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "farmboot_http_requests_total", Help: "HTTP requests answered, by handler and status.",
		}, []string{"handler", "status"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "farmboot_http_sent_bytes_total", Help: "Bytes of HTTP bodies sent, by handler.",
		}, []string{"handler"}),
	}
	reg.MustRegister(a.requests, a.sent)
	return a
}

// Handle makes an [http.Handler] of h: it counts, logs, recovers, and answers with
// fail when h returns an error. name labels the metrics. The [http.ResponseWriter]
// that h gets is a [*Recorder].
func (a *Adapter) Handle(name string, fail Failure, h Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := a.now()
		rec := &Recorder{ResponseWriter: w}
		err := protect(h, rec, r)
		fault := err != nil && provisioning.ErrorCode(err) == provisioning.Internal
		gone := errors.Is(err, context.Canceled) && r.Context().Err() != nil // it broke off what we did for it
		switch {
		case gone && rec.Status == 0:
			// It may only have closed its side, and read on.
			fail(rec, r, errGone())
			rec.Status = clientGone
		case err != nil && rec.Status == 0:
			fail(rec, r, err)
		case rec.Status == 0:
			rec.Status = http.StatusOK
		}
		a.requests.WithLabelValues(name, strconv.Itoa(rec.Status)).Inc()
		a.sent.WithLabelValues(name).Add(float64(rec.Sent))
		level := slog.LevelDebug
		if fault && !gone {
			level = slog.LevelError
		}
		if !a.log.Enabled(r.Context(), level) { // to gather what it says costs more than to ask
			return
		}
		a.log.Log(r.Context(), level, "http request", "handler", name, "method", r.Method, "path", provisioning.HideSecret(r.URL.Path),
			"peer", r.RemoteAddr, "status", rec.Status, "bytes", rec.Sent, "dur", a.now().Sub(start), "err", detail(err))
	})
}

// detail is [provisioning.Detail] of what may be no error.
func detail(err error) string {
	if err == nil {
		return ""
	}
	return provisioning.Detail(err)
}

// clientGone is the status in log and metrics of an answer whose client has gone; the
// number is nginx's.
const clientGone = 499

// errGone says why nothing was done for a client that closed its side of the connection:
// net/http cannot tell that from one that has gone.
func errGone() error {
	return provisioning.Errorf(provisioning.Unavailable, "the connection was closed before this was done: keep it open in both directions until the answer has come")
}

// protect runs h and turns a panic into an error. It lets [http.ErrAbortHandler]
// pass, which is net/http's way to break a connection off.
func protect(h Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h(w, r)
}

// Recorder notes status and length of an answer. It passes files on to the
// connection's own ReadFrom, so that the kernel sends them (sendfile(2)), and
// gives up on a peer that takes nothing for stall.
type Recorder struct {
	http.ResponseWriter
	Status int   // 0: nothing was sent yet
	Sent   int64 // bytes of the body

	// Progress, if there is one, is called while a large body is being sent.
	Progress func(sent int64)
}

// chunkSize is what a peer may take stall for, in bytes: a link of 70 kbit/s still gets
// through, and a dead one does not hold a file open for hours.
const chunkSize = 1 << 20

// WriteHeader implements [http.ResponseWriter].
func (w *Recorder) WriteHeader(status int) {
	if w.Status == 0 && status >= 200 {
		w.Status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [io.Writer].
func (w *Recorder) Write(b []byte) (int, error) {
	w.Status = cmp.Or(w.Status, http.StatusOK)
	n, err := w.ResponseWriter.Write(b)
	w.Sent += int64(n)
	return n, err
}

// ReadFrom implements [io.ReaderFrom], which io.Copy inside [http.ServeContent]
// looks for.
func (w *Recorder) ReadFrom(src io.Reader) (total int64, err error) {
	w.Status = cmp.Or(w.Status, http.StatusOK)
	limit := int64(1<<63 - 1)
	if lr, ok := src.(*io.LimitedReader); ok {
		src, limit = lr.R, lr.N
	}
	control := http.NewResponseController(w.ResponseWriter)
	for total < limit {
		size := min(chunkSize, limit-total)
		if err := control.SetWriteDeadline(time.Now().Add(stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return total, err
		}
		n, err := sendN(w.ResponseWriter, src, size)
		total += n
		w.Sent += n
		if err != nil || n < size {
			return total, err
		}
		if w.Progress != nil {
			w.Progress(w.Sent)
		}
	}
	return total, nil
}

// sendN sends the next n bytes of src without a detour through a buffer of ours. An
// *io.LimitedReader of an *os.File is what net/http hands to sendfile; content that
// is in memory is written from where it lies, which saves 32 KB for each client, and
// with 256 of them a sixth of the CPU time (measured).
func sendN(w io.Writer, src io.Reader, n int64) (int64, error) {
	if inMemory, ok := src.(interface {
		WriteNTo(w io.Writer, n int64) (int64, error)
	}); ok {
		return inMemory.WriteNTo(w, n)
	}
	return io.Copy(w, &io.LimitedReader{R: src, N: n})
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *Recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// PeerOf is the address that r came from; zero for the Unix socket.
func PeerOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// HostOf is the address by which the clients at peer are counted: with IPv6 the /64, since
// one host can use all addresses of it.
func HostOf(peer netip.Addr) netip.Addr {
	if peer.Is6() {
		if p, err := peer.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return peer
}

// LocalOf is the address of ours that r came to; zero if it is not known.
func LocalOf(r *http.Request) netip.Addr {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// Var returns a variable of the route's path, percent-decoded once. Routers here
// match paths as the client wrote them.
func Var(r *http.Request, name string) (string, error) {
	raw := mux.Vars(r)[name]
	s, err := url.PathUnescape(raw)
	if err != nil {
		return "", provisioning.Errorf(provisioning.Invalid, "bad percent-encoding %.60q: write %%25 for a percent sign", raw)
	}
	return s, nil
}

// MAC returns the MAC address in the route's path, its variable mac.
func MAC(r *http.Request) (provisioning.MAC, error) {
	s, err := Var(r, "mac")
	if err != nil {
		return provisioning.MAC{}, err
	}
	return provisioning.ParseMAC(s)
}
