package dhcp

import (
	"net/netip"
	"testing"
	"time"

	"farmboot/provisioning"
)

// stranger is the nth MAC address that nobody knows.
func stranger(n int) provisioning.MAC {
	return provisioning.MAC{2, 0xff, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func TestAdmission(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := newAdmission()
	unknown := func() bool { return false }
	answered := 0
	for i := range 60_000 { // 12,000 a second, for 5 s
		if a.admit(stranger(i), now.Add(time.Duration(i)*time.Second/12_000), unknown) {
			answered++
		}
	}
	if want := freshBurst + 5*freshRate; answered < want-10 || answered > want+10 {
		t.Errorf("%d strangers were answered, want %d", answered, want)
	}
	now = now.Add(5 * time.Second)
	for a.admit(stranger(1<<20+answered), now, unknown) {
		answered++
	}
	mac := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb1}
	if a.admit(mac, now, unknown) {
		t.Error("a stranger is answered while others wait")
	}
	if !a.admit(mac, now, unknown) {
		t.Error("who asks again is not answered")
	}
	asked := false
	registered := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb2}
	for range 2 {
		if !a.admit(registered, now, func() bool { asked = true; return true }) {
			t.Error("who is registered is not answered")
		}
	}
	if !asked {
		t.Error("the store was not asked")
	}
	booting := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb3}
	a.booting.put(booting, struct{}{})
	if !a.admit(booting, now, func() bool { t.Error("the store is asked for who boots"); return false }) {
		t.Error("who boots is not answered")
	}
}

// TestAdmission_AFarmForTheFirstTime: thirty thousand machines that nobody has seen power on
// at once; each is answered when it asks again, as firmware does after four seconds.
func TestAdmission_AFarmForTheFirstTime(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := newAdmission()
	unknown := func() bool { return false }
	waiting := make([]bool, 30_000)
	for i := range waiting {
		waiting[i] = !a.admit(stranger(i), now, unknown)
	}
	for i, w := range waiting {
		if w && !a.admit(stranger(i), now.Add(4*time.Second), unknown) {
			t.Fatalf("machine %d is not answered at its second try", i)
		}
	}
}

func TestRecent_ForgetsTheOldest(t *testing.T) {
	r := newRecent[int](1000)
	for i := range 10_000 {
		r.put(stranger(i), i)
	}
	if n := len(r.young) + len(r.old); n < 500 || n > 1000 {
		t.Errorf("remembers %d", n)
	}
	if _, ok := r.get(stranger(8_999)); ok {
		t.Error("remembers one that is long past")
	}
	for i := 9_500; i < 10_000; i++ {
		if v, ok := r.get(stranger(i)); !ok || v != i {
			t.Fatalf("remembers %d, %v of %d", v, ok, i)
		}
	}
	if _, ok := r.take(stranger(9_999)); !ok {
		t.Error("the last one is not there")
	}
	if _, ok := r.take(stranger(9_999)); ok {
		t.Error("it is there still")
	}
}

// TestDatagram: what is sent as a frame has right lengths and checksums; a checksum over
// all, the sent one included, is 0 (RFC 1071).
func TestDatagram(t *testing.T) {
	from, to := netip.MustParseAddrPort("10.77.0.2:67"), netip.MustParseAddrPort("255.255.255.255:68")
	for n := range 600 {
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(i*i + n)
		}
		b := appendDatagram([]byte("before"), from, to, payload)[len("before"):]
		if len(b) != 28+n || int(b[2])<<8|int(b[3]) != len(b) || int(b[24])<<8|int(b[25]) != 8+n {
			t.Fatalf("lengths of a packet with %d bytes: %d % x", n, len(b), b[:28])
		}
		if got := checksum(0, b[:20]); got != 0 {
			t.Fatalf("checksum of the header is off by %x", got)
		}
		pseudo := append(append([]byte(nil), b[12:20]...), 0, 17, b[24], b[25])
		if got := checksum(add(0, pseudo), b[20:]); got != 0 {
			t.Fatalf("checksum of a packet with %d bytes is off by %x", n, got)
		}
	}
}
