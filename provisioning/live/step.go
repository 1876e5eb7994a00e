package live

import (
	"time"
	"unique"

	"farmboot/provisioning"
)

// step is an event as the board keeps it. What events tell is alike on all nodes, so it is
// kept once: 10,000 boots of twelve events take some 10 MB, and ten times as much as they
// come.
type step struct {
	id, at      int64 // at in nanoseconds
	what        unique.Handle[telling]
	bytes, size int64
	duration    time.Duration
}

// telling is what an event tells, without figures.
type telling struct {
	stage                              provisioning.Stage
	detail, file, via, version, sha256 string
	cause                              provisioning.Cause
	ipxe                               bool
	held                               int
}

func pack(e provisioning.Event) step {
	return step{
		id: e.ID, at: e.At.UnixNano(), bytes: e.Bytes, size: e.Size, duration: e.Duration,
		what: unique.Make(telling{e.Stage, e.Detail, e.File, e.Via, e.Version, e.SHA256, e.Cause, e.IPXE, e.Held}),
	}
}

func (s step) event(mac provisioning.MAC) provisioning.Event {
	t := s.what.Value()
	return provisioning.Event{
		ID: s.id, At: s.time(), MAC: mac, Stage: t.stage,
		Detail: t.detail, File: t.file, Via: t.via, Version: t.version, SHA256: t.sha256, Cause: t.cause, IPXE: t.ipxe, Held: t.held,
		Bytes: s.bytes, Size: s.size, Duration: s.duration,
	}
}

func (s step) time() time.Time { return time.Unix(0, s.at).UTC() }
