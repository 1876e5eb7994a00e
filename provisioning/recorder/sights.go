package recorder

import (
	"hash/maphash"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/lru"
)

// sights remembers what was stored of machines, so that what they say again while they boot is
// not stored again.
type sights struct {
	last *lru.Map[provisioning.MAC, sight]
	seed maphash.Seed
}

// sight is what was stored of a machine last: when, in Unix milliseconds, and digests of what
// it said of itself; 0: nothing.
type sight struct {
	at    int64
	heard int64 // when it said something last, stored or not
	said  [7]uint32
}

const (
	// sightEvery is how long the same is not stored again, and so how old the stored time
	// may be. Firmware asks again after 4, 8, 16 and 32 s (PXE 2.1 section 2.2); see
	// [provisioning.BootGap].
	sightEvery = 10 * time.Second
	// sightsKept is of how many machines, of some 80 bytes each.
	sightsKept = 1 << 14
)

func newSights() *sights {
	return &sights{last: lru.New[provisioning.MAC, sight](sightsKept), seed: maphash.MakeSeed()}
}

// news returns which machines events show, but those that say nothing new, and takes note
// of them; what cannot be stored is to be forgotten.
func (s *sights) news(batch [][]boots.News) []provisioning.Sight {
	var news []provisioning.Sight
	for n := range eventsIn(batch) {
		if !showsNode(n) {
			continue
		}
		last, ok := s.last.Get(n.MAC)
		now, more := s.add(last, n)
		if ok && !more && now.at >= last.at && now.at-last.at < sightEvery.Milliseconds() {
			last.heard = now.heard
			s.last.Put(n.MAC, last)
			continue
		}
		s.last.Put(n.MAC, now)
		heard := time.Time{}
		if ok {
			heard = time.UnixMilli(last.heard)
		}
		news = append(news, provisioning.Sight{MAC: n.MAC, At: provisioning.FromMillis(n.At), Heard: heard, Peer: n.Peer, Machine: n.Machine()})
	}
	return news
}

// add returns what is known of a machine with an event, and whether that is more than before:
// firmware, iPXE and its script say different things, of one boot.
func (s *sights) add(last sight, n *boots.News) (now sight, more bool) {
	now = sight{at: n.At, heard: n.At, said: last.said}
	say := func(i int, digest uint64) {
		d := uint32(digest) | 1
		more = more || now.said[i] != d
		now.said[i] = d
	}
	for i, text := range n.Said() {
		say(i, maphash.Bytes(s.seed, text))
	}
	if n.Peer.IsValid() && !n.Peer.IsUnspecified() { // a DISCOVER comes from 0.0.0.0
		say(len(now.said)-1, maphash.Comparable(s.seed, n.Peer))
	}
	return now, more
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
func showsNode(n *boots.News) bool {
	switch n.Stage {
	case provisioning.StageDiscover, provisioning.StageScript, provisioning.StageHold, provisioning.StageWait, provisioning.StageExit, provisioning.StageRefused:
		return !n.MAC.IsZero()
	}
	return false
}
