package recorder

import (
	"hash/maphash"
	"net/netip"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/lru"
)

// sights remembers when machines were stored as seen, so that what firmware says again
// while it waits for an answer is not stored again.
type sights struct {
	last *lru.Map[provisioning.MAC, sight]
	seed maphash.Seed
}

// sight is what was stored of a machine last: when, and a digest of the rest.
type sight struct {
	at   int64 // Unix time in milliseconds
	what uint64
}

const (
	// sightEvery is how long the same is not stored again, and so how old the stored time
	// may be. Firmware asks again after 4, 8, 16 and 32 s (PXE 2.1 section 2.2); see
	// [provisioning.BootGap].
	sightEvery = 10 * time.Second
	// sightsKept is of how many machines, of some 60 bytes each.
	sightsKept = 1 << 14
)

func newSights() *sights {
	return &sights{last: lru.New[provisioning.MAC, sight](sightsKept), seed: maphash.MakeSeed()}
}

// news returns which machines events show, but those that say nothing new, and takes note
// of them; what cannot be stored is to be forgotten.
func (s *sights) news(batch [][]boots.News) []provisioning.Sight {
	var news []provisioning.Sight
	for e := range eventsIn(batch) {
		if !showsNode(e) {
			continue
		}
		now := sight{at: e.At.UnixMilli(), what: maphash.Comparable(s.seed, struct {
			provisioning.Machine
			netip.Addr
		}{e.Machine, e.Peer})}
		if last, ok := s.last.Get(e.MAC); ok && last.what == now.what && now.at >= last.at && now.at-last.at < sightEvery.Milliseconds() {
			continue
		}
		s.last.Put(e.MAC, now)
		news = append(news, provisioning.Sight{MAC: e.MAC, At: e.At, Peer: e.Peer, Machine: e.Machine})
	}
	return news
}

// forget takes back that these were stored.
func (s *sights) forget(news []provisioning.Sight) {
	for _, n := range news {
		s.last.Delete(n.MAC)
	}
}

// showsNode tells whether an event shows a machine that boots from here, by the
// network or from an image that asks what it boots: it belongs on the list of
// MAC addresses seen.
func showsNode(e *provisioning.Event) bool {
	switch e.Stage {
	case provisioning.StageDiscover, provisioning.StageScript, provisioning.StageHold, provisioning.StageWait, provisioning.StageExit, provisioning.StageRefused:
		return !e.MAC.IsZero()
	}
	return false
}
