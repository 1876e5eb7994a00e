package main

import (
	"context"
	"path"
	"time"

	"farmboot/dhcp"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
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
	case provisioning.StageNBP:
		switch {
		case e.Bytes < e.Size:
		case path.Base(e.File) == filenames.MokManager:
			s.Unenrolled(mac)
		default:
			s.Fetched(mac)
		}
	case provisioning.StageScript, provisioning.StageHold, provisioning.StageWait, provisioning.StageExit, provisioning.StageLoading:
		s.Running(mac)
	case provisioning.StageKernel:
		s.Running(mac)
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

// provenQueue is how many strategies wait to be stored; one that finds no room is stored
// when the machine boots for the first time after a restart.
const provenQueue = 4096

// prove leaves what booted a machine to be stored.
func (a *appliance) prove(p provisioning.Proven) {
	if p.Unusual() {
		a.log.Info("this machine boots with another strategy than most", "mac", p.MAC, "client", p.Client, "nbp", p.Strategy)
	}
	select {
	case a.proven <- p:
	default:
	}
}

// storeProven stores what boots machines until ctx ends.
func (a *appliance) storeProven(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case first := <-a.proven:
			batch := []provisioning.Proven{first}
			for len(batch) < 256 && len(a.proven) > 0 {
				batch = append(batch, <-a.proven)
			}
			err := a.store.UpdateUnsynced(ctx, func(tx provisioning.Tx) error {
				for _, p := range batch {
					if err := tx.PutProven(ctx, p); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil && ctx.Err() == nil {
				a.log.Warn("cannot store what boots a machine: it is found out anew after a restart", "mac", first.MAC, "err", provisioning.Detail(err))
			}
		}
	}
}

// known tells whether a MAC address that is not registered has booted here before.
func (a *appliance) known(ctx context.Context, mac provisioning.MAC) bool {
	_, err := a.store.Proven(ctx, mac)
	return err == nil
}
