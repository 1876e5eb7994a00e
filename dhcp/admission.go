package dhcp

import (
	"time"

	"golang.org/x/time/rate"

	"farmboot/provisioning"
	"farmboot/provisioning/limiter"
)

// admission decides which requests are answered when more come in than can be. First come
// machines that boot, and those that the store knows; then requests as firmware sends them:
// again after a pause, or to port 4011 after an offer; then machines that were never seen
// before; and last those that have an answer and ask again at once. While others wait, no
// machine is answered more often than firmware asks.
//
// An answer costs some fifty microseconds, with all that follows from it. The limits are
// for machines that the store does not know: a flood of random addresses then costs a tenth
// of a core, while a farm of ten thousand that powers on for the first time is answered at
// once.
type admission struct {
	booting *recent[struct{}] // machines that boot: they fetched something
	often   *limiter.Keyed[provisioning.MAC]
	asked   *recent[visit]
	again   map[Service]*rate.Limiter
	fresh   *rate.Limiter
	hasty   *rate.Limiter
}

const (
	freshRate, freshBurst = 1000, 16384 // a second: machines never seen before
	againRate, againBurst = 2000, 16384 // a second, on each port: machines that ask as firmware does
	hastyRate, hastyBurst = 500, 16384  // a second: machines that have their answer, and ask at once

	// hastyPause is after what time a repeat is not hasty: firmware repeats after four
	// seconds (PXE 2.1 section 2.2). iPXE does after one, whether or not it has an offer.
	hastyPause = 3 * time.Second

	// strangerTime is for how long the store is not asked again for a machine that it did
	// not know.
	strangerTime = 10 * time.Second

	// A machine that boots is answered allowedBurst times at once, and once more after each
	// allowedEvery: each of its programs asks two or three times. More are sent by somebody
	// who uses its address.
	allowedBurst = 16
	allowedEvery = time.Second

	// rememberBooting and rememberAsked are MAC addresses. Firmware asks again after
	// 4 s; 12,000 others may have asked in each of those.
	rememberBooting = 1 << 16
	rememberAsked   = 1 << 18
)

// visit is what is remembered of a machine that the store does not know. There are many: it
// is small.
type visit struct {
	at       uint32 // when it asked last, in milliseconds, modulo 2^32
	stranger uint32 // when the store did not know it, so; 0: it was not asked
	offered  bool   // it was answered by the proxyDHCP server …
	answered bool   // … and by the boot server
}

func newAdmission() *admission {
	again := make(map[Service]*rate.Limiter)
	for _, service := range []Service{ProxyDHCP, BootServer} {
		again[service] = rate.NewLimiter(againRate, againBurst)
	}
	return &admission{
		booting: newRecent[struct{}](rememberBooting),
		often:   limiter.New[provisioning.MAC](allowedBurst, allowedEvery, rememberBooting),
		asked:   newRecent[visit](rememberAsked), again: again,
		fresh: rate.NewLimiter(freshRate, freshBurst), hasty: rate.NewLimiter(hastyRate, hastyBurst),
	}
}

// admit tells whether a request is to be answered. known and crowded are called where that
// depends on whether the store knows the machine, and on whether many others wait.
func (a *admission) admit(mac provisioning.MAC, service Service, now time.Time, known, crowded func() bool) bool {
	if _, ok := a.booting.get(mac); ok {
		return a.often.Allow(mac, now) || !crowded()
	}
	last, seen := a.asked.get(mac)
	at := uint32(now.UnixMilli())
	since := func(then uint32) time.Duration { return time.Duration(at-then) * time.Millisecond }
	was := last.of(service)
	var admitted bool
	switch {
	case !seen:
		admitted = a.fresh.AllowN(now, 1)
	case *was && since(last.at) < hastyPause:
		admitted = a.hasty.AllowN(now, 1) || !crowded()
	default: // what the hasty leave is for these
		admitted = a.again[service].AllowN(now, 1) || a.hasty.AllowN(now, 1) || !crowded()
	}
	ask := !admitted && (last.stranger == 0 || since(last.stranger) >= strangerTime)
	last.at = at
	*was = *was || admitted
	if ask {
		last.stranger = at
	}
	a.asked.put(mac, last)
	if ask && known() {
		a.boots(mac) // it is as good, and need not be looked up again
		return true
	}
	return admitted
}

// of is whether a service answered it.
func (v *visit) of(service Service) *bool {
	if service == BootServer {
		return &v.answered
	}
	return &v.offered
}

// boots takes note that a machine is in the middle of its boot, or as good as that.
func (a *admission) boots(mac provisioning.MAC) { a.booting.put(mac, struct{}{}) }
