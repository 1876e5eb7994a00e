package dhcp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"farmboot/provisioning"
)

// stranger is the nth MAC address that nobody knows.
func stranger(n int) provisioning.MAC {
	return provisioning.MAC{2, 0xff, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// crowded is what a socket says while many wait, idle while nobody does.
func crowded() bool { return true }
func idle() bool    { return false }

func TestAdmission(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := newAdmission()
	unknown := func() bool { return false }
	answered := 0
	for i := range 60_000 { // 12,000 a second, for 5 s
		if a.admit(stranger(i), ProxyDHCP, now.Add(time.Duration(i)*time.Second/12_000), unknown, crowded) {
			answered++
		}
	}
	if want := freshBurst + 5*freshRate; answered < want-10 || answered > want+10 {
		t.Errorf("%d strangers were answered, want %d", answered, want)
	}
	now = now.Add(5 * time.Second)
	for a.admit(stranger(1<<20+answered), ProxyDHCP, now, unknown, crowded) {
		answered++
	}
	mac := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb1}
	if a.admit(mac, ProxyDHCP, now, unknown, crowded) {
		t.Error("a stranger is answered while others wait")
	}
	if !a.admit(mac, ProxyDHCP, now, unknown, crowded) {
		t.Error("who asks again is not answered")
	}
	asked := false
	registered := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb2}
	for range 2 {
		if !a.admit(registered, ProxyDHCP, now, func() bool { asked = true; return true }, crowded) {
			t.Error("who is registered is not answered")
		}
	}
	if !asked {
		t.Error("the store was not asked")
	}
	times := 0
	for i := range 101 { // for 10 s
		at := now.Add(time.Duration(i) * time.Second / 10)
		for _, limit := range []*rate.Limiter{a.again[ProxyDHCP], a.hasty} {
			limit.AllowN(at, int(limit.TokensAt(at))) // all that there is
		}
		a.admit(stranger(1<<20+answered), ProxyDHCP, at, func() bool { times++; return false }, crowded)
	}
	if times != 1 {
		t.Errorf("in 10 s the store was asked %d times for the same stranger", times)
	}
	booting := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb3}
	a.boots(booting)
	if !a.admit(booting, ProxyDHCP, now, func() bool { t.Error("the store is asked for who boots"); return false }, crowded) {
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
		waiting[i] = !a.admit(stranger(i), ProxyDHCP, now, unknown, crowded)
	}
	for i, w := range waiting {
		if w && !a.admit(stranger(i), ProxyDHCP, now.Add(4*time.Second), unknown, crowded) {
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

// TestAdmission_MachinesThatAskAgainAndAgain: ten thousand MAC addresses ask, 12,000 times a
// second, and fetch nothing. A machine that nobody has seen gets its offer and the answer of
// the boot server at its first try, whatever port the others ask.
func TestAdmission_MachinesThatAskAgainAndAgain(t *testing.T) {
	for _, service := range []Service{ProxyDHCP, BootServer} {
		now := time.Unix(1e9, 0)
		a := newAdmission()
		unknown := func() bool { return false }
		answered := 0
		for i := range 120_000 { // for 10 s
			now = now.Add(time.Second / 12_000)
			if a.admit(stranger(i%10_000), service, now, unknown, crowded) {
				answered++
			}
		}
		if most := 10_000 + hastyBurst + 10*hastyRate; answered > most+10 {
			t.Errorf("%s: they are answered %d times, more than %d", service, answered, most)
		}
		mac := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb1}
		if !a.admit(mac, ProxyDHCP, now, unknown, crowded) || !a.admit(mac, BootServer, now, unknown, crowded) {
			t.Errorf("%s: a machine that nobody has seen is not answered", service)
		}
		if !a.admit(mac, ProxyDHCP, now.Add(5*time.Second), unknown, crowded) {
			t.Errorf("%s: a machine whose offer was lost is not answered when it asks as firmware does", service)
		}
	}
}

// TestAdmission_MachineThatBoots is not answered more often than firmware asks.
func TestAdmission_MachineThatBoots(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := newAdmission()
	mac := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb1}
	a.boots(mac)
	known := func() bool { t.Error("the store is asked"); return true }
	answered := 0
	for range 10_000 { // a thousand times a second
		now = now.Add(time.Millisecond)
		if a.admit(mac, ProxyDHCP, now, known, crowded) {
			answered++
		}
		a.boots(mac) // that it fetches something gives it no more
	}
	if want := allowedBurst + int(10*time.Second/allowedEvery); answered < want-1 || answered > want+1 {
		t.Errorf("it is answered %d times, want %d", answered, want)
	}
	if now = now.Add(time.Hour); !a.admit(mac, BootServer, now, known, crowded) {
		t.Error("it is not answered later")
	}
}

// TestAdmission_WhileNobodyWaits whoever asks again is answered, however often.
func TestAdmission_WhileNobodyWaits(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := newAdmission()
	booting := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb1}
	a.boots(booting)
	known := func() bool { t.Error("the store is asked"); return true }
	for i := range 100_000 { // 12,000 times a second
		now = now.Add(time.Second / 12_000)
		if !a.admit(stranger(i%10_000), ProxyDHCP, now, known, idle) || !a.admit(booting, ProxyDHCP, now, known, idle) {
			t.Fatalf("after %d times one is not answered", i)
		}
	}
}

// TestConn_Crowded: a socket is crowded while much waits in it.
func TestConn_Crowded(t *testing.T) {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConn(udp, ProxyDHCP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := c.receiver()
	from, err := net.Dial("udp4", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if c.crowded() {
		t.Error("it is crowded at once")
	}
	for range 150 {
		if _, err := from.Write(make([]byte, 600)); err != nil {
			t.Fatal(err)
		}
	}
	if !c.crowded() {
		t.Error("it is not crowded with 150 packets")
	}
	for c.crowded() {
		if _, _, _, err := in.receive(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, _, err := in.receive(); err != nil {
		t.Errorf("it is not crowded, because it is empty: %v", err)
	}
}
