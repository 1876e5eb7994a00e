package lan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"farmboot/provisioning/pause"
	"farmboot/setup"
)

const (
	// settle is how long changes are collected: who renames an interface or replaces
	// its address takes several steps.
	settle = 300 * time.Millisecond
	// poll is how often we look unasked, should the kernel's news be lost.
	poll = 5 * time.Second
)

// Watcher follows the network. Its methods are safe for concurrent use.
type Watcher struct {
	cfg  atomic.Pointer[setup.Config]
	log  *slog.Logger
	news *netlink.Conn
	view atomic.Pointer[View]

	changes chan struct{} // somebody wishes us to look
}

// Open looks at the network for the first time. Run follows it from then on: what
// changes in between is not lost.
func Open(cfg setup.Config, log *slog.Logger) (*Watcher, error) {
	w := &Watcher{log: log, changes: make(chan struct{}, 1)}
	w.cfg.Store(&cfg)
	var err error
	w.news, err = netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE})
	if err != nil {
		return nil, fmt.Errorf("watch the network: %w", err)
	}
	v, err := Look(cfg)
	if err != nil {
		return nil, errors.Join(err, w.news.Close())
	}
	w.view.Store(v)
	return w, nil
}

// Look looks at the network once.
func Look(cfg setup.Config) (*View, error) {
	lans, missing, err := cfg.Survey("")
	if err != nil {
		return nil, err
	}
	return newView(cfg, lans, missing), nil
}

// View returns the network as it was when it last changed.
func (w *Watcher) View() *View { return w.view.Load() }

// Configure replaces the configuration, and so perhaps the LANs that are ours, or
// their URLs. What changes by that is seen soon.
func (w *Watcher) Configure(cfg setup.Config) {
	w.cfg.Store(&cfg)
	w.wish()
}

func (w *Watcher) wish() {
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

// Close ends a Watcher that does not run.
func (w *Watcher) Close() error { return w.news.Close() }

// Run follows the network until ctx ends, and returns nil then. It writes one line
// for each change.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.news.Close()
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		w.read(ctx)
	}()
	defer func() {
		_ = w.news.SetReadDeadline(time.Unix(1, 0))
		<-reader
	}()

	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-w.changes:
			if pause.For(ctx, settle) != nil {
				return nil
			}
		}
		w.look()
	}
}

// read turns the kernel's news into a wish to look, until ctx ends.
func (w *Watcher) read(ctx context.Context) {
	for ctx.Err() == nil {
		_, err := w.news.Receive()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		// Any other error is that news were lost (ENOBUFS), which is news as well.
		w.wish()
		if err != nil && pause.For(ctx, settle) != nil {
			return
		}
	}
}

// look looks again, and replaces the view if it has changed.
func (w *Watcher) look() {
	old := w.View()
	former := ""
	if len(old.LANs) > 0 {
		former = old.LANs[0].Name
	}
	cfg := *w.cfg.Load()
	lans, missing, err := cfg.Survey(former)
	if err != nil {
		w.log.Warn("cannot look at the network", "err", err)
		return
	}
	v := newView(cfg, lans, missing)
	if v.Equal(old) {
		return
	}
	w.view.Store(v)
	close(old.outdated)
	if v.sameNetwork(old) {
		return // only URLs have changed, which who reads the configuration again says
	}
	if was, is := old.String(), v.String(); was != is || len(v.Missing) == 0 {
		w.log.Info("network changed", "serving", is, "before", was, "missing", strings.Join(v.Missing, "; "))
	} else {
		w.log.Warn("network changed", "serving", is, "before", was, "missing", strings.Join(v.Missing, "; "))
	}
}
