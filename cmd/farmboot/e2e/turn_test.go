//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"farmboot/dhcp/fakeclient"
	"farmboot/setup/lab"
)

// TestWaitsForItsTurn: sixteen nodes fetch their kernels and do not get on. Two real
// machines, BIOS and UEFI, wait meanwhile with their places on the screen, and boot as soon
// as the others have gone. Their stories tell that they waited, and that they are up when
// their operating systems ask for an address.
func TestWaitsForItsTurn(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	f := newFarm(t, l, a)
	others, err := l.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	var stuck []io.Closer
	for i := range 16 {
		a.get(t, others, "/provision/"+mac(0x100+i)).Close()
		stuck = append(stuck, a.get(t, others, "/kernel/net/prod.efi?mac="+mac(0x100+i))) // nobody reads it
	}
	waiting := make(chan struct{}, 2)
	go func() {
		for range cap(waiting) {
			<-waiting
		}
		for _, s := range stuck {
			s.Close()
		}
	}()
	t.Run("machines", func(t *testing.T) {
		for name, machine := range map[string]lab.Machine{mac(1): biosNode(mac(1)), mac(2): uefiNode(mac(2))} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				n := powerOn(t, l, machine)
				n.sees(t, `many nodes boot at once, and this one waits for its turn`)
				n.sees(t, `place \.+ [12] of [12]`)
				if s := a.farmboot(t, "status"); !strings.Contains(s, "wait for their kernels") {
					t.Errorf("status:\n%s", s)
				}
				n.sees(t, `This node waits for its turn: place [12] of [12]`) // it has asked again
				waiting <- struct{}{}
				n.boots(t, kernelArgs+" runmode=prod")
			})
		}
	})
	for i := range 2 {
		id := fakeclient.Identity{MAC: [6]byte{0x52, 0x54, 0, 0, 0, byte(1 + i)}, XID: uint32(7000 + i), Broadcast: true}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if r := f.boot(ctx, fakeclient.Laptop(), id, f.plug(id.MAC)); r.Err != nil {
			t.Error(r.Err)
		}
		cancel()
		if !becomesSo(t, func() bool { return strings.Contains(a.farmboot(t, "node", "show", mac(1+i)), "It is up") }) {
			t.Error("it is not seen that it is up")
		}
		told := a.farmboot(t, "node", "show", mac(1+i))
		for _, part := range []string{"waits for its turn to fetch its kernel: place ", "fetched its boot script", "fetched its kernel"} {
			if !strings.Contains(told, part) {
				t.Errorf("its story has not %q:\n%s", part, told)
			}
		}
	}
}

// get asks the appliance for something from a host of the LAN, as iPXE does, and returns
// the answer's body.
func (a *appliance) get(t *testing.T, from *lab.Host, path string) io.ReadCloser {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s%s", a.host.Addr(), path), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", "iPXE/1.21.1")
	dialer := &net.Dialer{}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = from.Do(func() error {
			conn, err = dialer.DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, answer.Status)
	}
	return answer.Body
}
