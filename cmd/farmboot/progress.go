package main

import (
	"context"
	"time"

	"farmboot/dhcp"
	"farmboot/provisioning"
)

// fetched passes on what machines fetch, by TFTP and HTTP, and tells DHCP of it: who
// boots comes first there, and who has a kernel is listened for, whether it runs.
func (a *appliance) fetched(e provisioning.Event) {
	a.recorder.Record(e)
	s := a.progress.Load()
	if s == nil { // [dhcp] enabled = false
		return
	}
	mac := e.MAC
	if mac.IsZero() {
		mac, _ = a.recorder.MAC(e.Peer)
	}
	if !mac.IsZero() {
		follow(s, mac, e)
	}
}

// follow tells DHCP what an event of mac means.
func follow(s *dhcp.Server, mac provisioning.MAC, e provisioning.Event) {
	switch e.Stage {
	case provisioning.StageNBP, provisioning.StageScript, provisioning.StageHold, provisioning.StageLoading:
		s.Booting(mac)
	case provisioning.StageKernel:
		s.Booting(mac)
		if e.Bytes == e.Size {
			s.Started(mac, e.At)
		}
	}
}

// startedLately is how far back in time kernels are looked for at the start, and
// startedMost how many events are read for that.
const (
	startedLately = 15 * time.Minute
	startedMost   = 10_000
)

// readStarted tells DHCP of the kernels that went out before we were started: their
// operating systems may come up only now.
func (a *appliance) readStarted(ctx context.Context, s *dhcp.Server) {
	events, err := a.store.Events(ctx, provisioning.EventQuery{Since: a.now().Add(-startedLately), Limit: startedMost, Last: true})
	if err != nil {
		a.log.Warn("cannot read which machines were booting: what they boot may be seen as stalled", "err", provisioning.Detail(err))
		return
	}
	for _, e := range events {
		switch {
		case e.MAC.IsZero():
		case e.Stage == provisioning.StageUp:
			s.Stopped(e.MAC)
		default:
			follow(s, e.MAC, e)
		}
	}
}

// known tells whether a MAC address that nobody registered was seen before.
func (a *appliance) known(ctx context.Context, mac provisioning.MAC) bool {
	_, err := a.store.Seen(ctx, mac)
	return err == nil
}
