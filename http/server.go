package http

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"farmboot/http/answer"
)

// answerLimit is how long a client may take for a whole answer. A handler of long ones
// gives it more as parts are taken.
const answerLimit = 5 * time.Minute

// bodyLimit is how long a client may take to send the body that it announced. A
// handler of long bodies gives it more as parts arrive.
const bodyLimit = time.Minute

// headerLimit is how long the header of a request may be, in bytes. Kernel arguments
// that are far too long fit, so that the composer says how long they may be.
const headerLimit = 64 << 10

// withDeadlines serves h, and gives up on an answer that the client does not take,
// and on a body that does not come: net/http waits for it before it answers, even where
// the handler does not read it.
func withDeadlines(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w) // a connection that knows no deadlines goes without
		_ = control.SetWriteDeadline(time.Now().Add(answerLimit))
		if r.ContentLength != 0 {
			_ = control.SetReadDeadline(time.Now().Add(bodyLimit))
		}
		h.ServeHTTP(w, r)
	})
}

// grace is what answers under way get to finish when the server stops.
const grace = 8 * time.Second

// newcomerTime is how long connections that have not asked anything may take to, when the
// server stops.
const newcomerTime = time.Second

// headerTime is how long the header of a request may take to come, and idleTime how long a
// connection may be without a request, after one.
const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
)

// Serve serves h on ln until ctx ends, then gives running answers some seconds and
// returns nil.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger) error {
	conns := newConnections(log)
	base, cancel := context.WithCancel(answer.WithStop(context.Background(), ctx.Done()))
	defer cancel()
	first := newFront(ctx, base, ln, h, conns, log)
	srv := &http.Server{
		Handler:           withDeadlines(conns.watch(whole(limitIPXE(h)))),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withConn,
		ConnState:         conns.track,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerLimit,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		conns.hangUpWaiting(false)
		newcomers := time.AfterFunc(newcomerTime, func() { conns.hangUpWaiting(true) })
		defer newcomers.Stop()
		err := srv.Shutdown(end)
		if err != nil {
			err = srv.Close()
		}
		first.wait(end)
		stopped <- err
	}()
	if err := srv.Serve(first); !errors.Is(err, http.ErrServerClosed) {
		conns.hangUpAll()
		return err
	}
	return <-stopped
}
