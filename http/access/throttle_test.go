package access

import (
	"net/netip"
	"testing"
	"time"
)

// TestThrottleIsBounded: whoever tries from many addresses does not fill our
// memory, and is not forgotten where he keeps trying.
func TestThrottleIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	th := NewThrottle(func() time.Time { return now })
	stubborn := netip.MustParseAddr("192.0.2.1")
	for range triesAtOnce {
		th.failed(stubborn)
	}
	addr := netip.MustParseAddr("10.0.0.0")
	for range 5 * generation {
		th.failed(addr)
		addr = addr.Next()
		if !th.exhausted(stubborn) {
			t.Fatalf("forgotten at %s", addr)
		}
		if n := len(th.fresh) + len(th.stale); n > 2*generation {
			t.Fatalf("%d addresses are remembered", n)
		}
	}
	if th.exhausted(netip.MustParseAddr("10.0.0.0")) {
		t.Error("one try was too many")
	}
}
