package dhcp_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"farmboot/dhcp"
	"farmboot/dhcp/fakeclient"
	"farmboot/provisioning"
	"farmboot/setup/lab"
)

// TestServer_DifficultMachinesBootInTheEnd: firmware that what most machines get does not
// boot, over real sockets, beside a real dnsmasq: the first answer fails it, one of the
// next boots it, and that one it gets from then on. What boots at once keeps what it has.
func TestServer_DifficultMachinesBootInTheEnd(t *testing.T) {
	var mu sync.Mutex
	proven := make(map[provisioning.MAC]provisioning.Proven)
	a := startAppliance(t, func(c *dhcp.Config) {
		c.Prove = func(p provisioning.Proven) {
			mu.Lock()
			defer mu.Unlock()
			proven[p.MAC] = p
		}
	})
	a.machine.Close()
	var sockets fakeclient.Sockets
	err := a.other.Do(func() (err error) {
		sockets, err = fakeclient.Listen(t.Context(), lab.Interface)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.Close()
	xid := uint32(0)
	// boot plays one boot: the machine fetches what it is told, and if that runs, it asks
	// for its script.
	boot := func(p fakeclient.Persona, mac provisioning.MAC) fakeclient.Result {
		xid += 0x100
		r, err := fakeclient.Run(t.Context(), p, fakeclient.Identity{
			MAC: mac, GUID: [16]byte(testGUID[1:]), XID: xid, Address: a.other.Addr(), Broadcast: true, MaxWait: time.Second / 2,
		}, sockets)
		if err != nil {
			t.Fatal(err)
		}
		if r.Boot != nil && (!strings.HasPrefix(r.Boot.File, "http") || strings.Contains(r.Boot.File, "/boot/")) {
			a.Fetched(mac)
		}
		if r.Err == nil {
			a.Running(mac)
		}
		return r
	}
	for i, c := range []struct {
		name string
		want provisioning.Strategy
		at   int // the boot that is the first to succeed
	}{
		{"UEFI x64 that asks no boot server", provisioning.Strategy{Form: provisioning.FileInOffer}, 2},
		{"UEFI x64 whose card hangs with iPXE", provisioning.Strategy{NBP: provisioning.SNPOnly}, 2},
		{"UEFI x64 before 2017 whose card hangs with iPXE", provisioning.Strategy{NBP: provisioning.SNPOnly}, 2},
		{"UEFI x64 that asks no boot server, whose card hangs with iPXE", provisioning.Strategy{NBP: provisioning.SNPOnly, Form: provisioning.FileInOffer}, 3},
		{"UEFI HTTP Boot whose card hangs with iPXE", provisioning.Strategy{NBP: provisioning.SNPOnly}, 2},
		{"BIOS that asks the boot server alone", provisioning.Strategy{Form: provisioning.FromBootServer}, 2},
		{"iPXE in ROM that cannot fetch scripts", provisioning.Strategy{Form: provisioning.ProgramForIPXE}, 2},
		{"UEFI x64", provisioning.Strategy{}, 1},
		{"UEFI x64 before 2017", provisioning.Strategy{}, 1},
		{"BIOS", provisioning.Strategy{}, 1},
		{"iPXE in ROM", provisioning.Strategy{}, 1},
	} {
		var p fakeclient.Persona
		for _, q := range append(fakeclient.All(), fakeclient.Difficult()...) {
			if q.Name == c.name {
				p = q
			}
		}
		mac := provisioning.MAC{0x52, 0x54, 0, 0, 7, byte(i)}
		for n := 1; n <= c.at+1; n++ { // and once more
			r := boot(p, mac)
			if booted := r.Err == nil && r.Boot != nil; booted != (n >= c.at) {
				t.Errorf("%s, boot %d: %+v, %v, ignored %v", c.name, n, r.Boot, r.Err, r.Ignored)
			}
		}
		mu.Lock()
		if got, ok := proven[mac]; !ok || got.Strategy != c.want {
			t.Errorf("%s: proven %+v, want %s", c.name, got, c.want)
		}
		mu.Unlock()
	}
}
