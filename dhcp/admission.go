package dhcp

import (
	"errors"
	"time"

	"golang.org/x/time/rate"

	"farmboot/provisioning"
)

// ErrFlood says that too many machines ask that nobody knows: this one has to ask again.
var ErrFlood = errors.New("too many requests of machines that were never seen before")

// admission decides who is answered when more machines ask than there can be. Whoever is
// booting comes first, and whoever is known to the store; then whoever asks again, as
// real firmware does after some seconds; then whoever was never seen before.
//
// An answer costs some fifty microseconds, with all that follows from it. The limits are
// for those whom nobody knows: a flood of random addresses then costs a tenth of a core,
// while a farm of ten thousand that powers on for the first time is answered at once.
type admission struct {
	booting *recent[struct{}] // has shown that it boots: it fetched something
	asked   *recent[struct{}]
	again   *rate.Limiter
	fresh   *rate.Limiter
}

const (
	freshRate, freshBurst = 1000, 16384 // a second: machines never seen before
	againRate, againBurst = 2000, 16384 // a second: machines that asked before

	// rememberBooting and rememberAsked are MAC addresses. Firmware asks again after
	// 4 s; 12,000 others may have asked in each of those.
	rememberBooting = 1 << 16
	rememberAsked   = 1 << 18
)

func newAdmission() *admission {
	return &admission{
		booting: newRecent[struct{}](rememberBooting), asked: newRecent[struct{}](rememberAsked),
		again: rate.NewLimiter(againRate, againBurst), fresh: rate.NewLimiter(freshRate, freshBurst),
	}
}

// admit tells whether a request is to be answered. known is called where that depends on
// whether the store knows the machine.
func (a *admission) admit(mac provisioning.MAC, now time.Time, known func() bool) bool {
	if _, ok := a.booting.get(mac); ok {
		return true
	}
	limit := a.fresh
	if _, ok := a.asked.swap(mac, struct{}{}); ok {
		limit = a.again
	}
	if limit.AllowN(now, 1) {
		return true
	}
	if !known() {
		return false
	}
	a.booting.put(mac, struct{}{}) // it is as good, and need not be looked up again
	return true
}
