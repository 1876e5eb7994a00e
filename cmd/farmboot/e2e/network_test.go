//go:build e2e

package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"farmboot/dhcp/fakeclient"
	"farmboot/setup/lab"
)

// soon is how long the appliance may take to follow a change of the network.
const soon = 10 * time.Second

// rack is a host of the LAN that plays machines, and tells what they come to.
type rack struct {
	host    *lab.Host
	sockets fakeclient.Sockets
	macs    byte
}

func newRack(t *testing.T, l *lab.LAN) *rack {
	t.Helper()
	host, err := l.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	r := &rack{host: host}
	err = host.Do(func() (err error) {
		r.sockets, err = fakeclient.Listen(t.Context(), lab.Interface)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.sockets.Close() })
	return r
}

// boot plays UEFI firmware that tries once. It returns what it boots, and from where.
func (r *rack) boot(t *testing.T) (fakeclient.Boot, error) {
	t.Helper()
	r.macs++
	id := fakeclient.Identity{
		MAC: [6]byte{0x52, 0x54, 0, 0xe7, 0, r.macs}, GUID: [16]byte{15: r.macs}, XID: uint32(r.macs),
		Address: r.host.Addr(), Broadcast: true, MaxWait: time.Second / 2,
	}
	result, err := fakeclient.Run(t.Context(), fakeclient.UEFI(), id, r.sockets)
	if err != nil {
		return fakeclient.Boot{}, err
	}
	if result.Err != nil {
		return fakeclient.Boot{}, fmt.Errorf("%w; ignored: %v", result.Err, result.Ignored)
	}
	return *result.Boot, nil
}

// boots has machines try until one is served from addr, in time: it is sent there for
// its boot program, gets that there, and a script that names the same address.
func (r *rack) boots(t *testing.T, addr string, within time.Duration) {
	t.Helper()
	// Machines that are switched on know nobody's hardware address.
	change(t, r.host, "neigh flush dev "+lab.Interface)
	var err error
	for end := time.Now().Add(within); time.Now().Before(end); {
		var boot fakeclient.Boot
		if boot, err = r.boot(t); err != nil {
			continue
		}
		if want := (fakeclient.Boot{File: "ipxe.efi", Server: netip.MustParseAddr(addr)}); boot != want {
			err = fmt.Errorf("it boots %v, want %v", boot, want)
			continue
		}
		if err = r.fetches(t, addr); err == nil {
			return
		}
	}
	t.Errorf("%v after the change no machine boots from %s: %v", within, addr, err)
}

// fetches gets the boot program and a script, as the machine would go on.
func (r *rack) fetches(t *testing.T, addr string) error {
	t.Helper()
	var conn *net.UDPConn
	err := r.host.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", nil)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.WriteToUDPAddrPort([]byte("\x00\x01ipxe.efi\x00octet\x00"), netip.MustParseAddrPort(addr+":69")); err != nil {
		return err
	}
	block := make([]byte, 1500)
	n, peer, err := conn.ReadFromUDPAddrPort(block)
	if err != nil {
		return fmt.Errorf("TFTP: %w", err)
	}
	if n != 516 || peer.Addr().Unmap().String() != addr {
		return fmt.Errorf("TFTP: %d bytes from %s", n, peer)
	}
	if _, err := conn.WriteToUDPAddrPort([]byte("\x00\x05\x00\x00enough\x00"), peer); err != nil {
		return err
	}
	status, script, err := r.get(t, "http://"+addr+"/provision/52:54:00:e7:00:01", nil)
	if err == nil && (status != http.StatusOK || !strings.Contains(script, "http://"+addr+"/kernel/")) {
		err = fmt.Errorf("script, status %d:\n%s", status, script)
	}
	return err
}

// get fetches a URL from the rack.
func (r *rack) get(t *testing.T, url string, roots *x509.CertPool) (status int, body string, err error) {
	t.Helper()
	client := http.Client{Timeout: soon, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = r.host.Do(func() (err error) {
				var d net.Dialer
				conn, err = d.DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		},
	}}
	response, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// trusts holds that the appliance's certificate is good for addr, in time.
func (r *rack) trusts(t *testing.T, addr string) {
	t.Helper()
	_, pem, err := r.get(t, "http://"+addr+"/ca.pem", nil)
	if err != nil {
		t.Error(err)
		return
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(pem))
	for end := time.Now().Add(soon); time.Now().Before(end); {
		if _, _, err = r.get(t, "https://"+addr+"/healthz", roots); err == nil {
			return
		}
	}
	t.Errorf("the certificate is not good for %s: %v", addr, err)
}

// health is what the appliance says of itself, to itself.
func (a *appliance) health(t *testing.T) (status int, text string) {
	t.Helper()
	self := &rack{host: a.host}
	status, text, err := self.get(t, "http://127.0.0.1/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	return status, text
}

// becomes waits until the appliance's health is status, with words in its line.
func (a *appliance) becomes(t *testing.T, want int, words string) {
	t.Helper()
	var status int
	var text string
	for end := time.Now().Add(soon); time.Now().Before(end); {
		if status, text = a.health(t); status == want && strings.Contains(text, words) && strings.Count(text, "\n") == 1 {
			return
		}
	}
	t.Errorf("health is %d %q, want %d and %q", status, text, want, words)
}

func change(t *testing.T, h *lab.Host, commands ...string) {
	t.Helper()
	if err := h.IP(commands...); err != nil {
		t.Fatal(err)
	}
}

// TestNetworkChanges: the network changes under a running appliance, which follows
// (piserver 35, systemd 15421: address; docker-dhcpd 37, openwrt 9564: interface).
func TestNetworkChanges(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	r := newRack(t, l)
	r.boots(t, "10.77.0.2", soon)
	a.becomes(t, http.StatusOK, "ok")

	t.Log("another address")
	change(t, a.host, "addr del 10.77.0.2/16 dev lan0", "addr add 10.77.0.9/16 brd + dev lan0")
	r.boots(t, "10.77.0.9", soon)
	r.trusts(t, "10.77.0.9")

	t.Log("no interface")
	if err := a.host.Unplug(); err != nil {
		t.Fatal(err)
	}
	a.becomes(t, http.StatusServiceUnavailable, `there is no interface "lan0"`)

	t.Log("an interface of the same name")
	if err := a.host.Plug(); err != nil {
		t.Fatal(err)
	}
	r.boots(t, "10.77.0.2", soon)
	a.becomes(t, http.StatusOK, "ok")

	t.Log("down and up")
	change(t, a.host, "link set lan0 down")
	a.becomes(t, http.StatusServiceUnavailable, "is down")
	change(t, a.host, "link set lan0 up")
	r.boots(t, "10.77.0.2", soon)

	// A management network, first on the interface and on none of the machines.
	t.Log("another network beside the LAN's")
	change(t, a.host, "addr flush dev lan0", "addr add 192.168.99.2/24 dev lan0", "addr add 10.77.0.2/16 brd + dev lan0")
	r.boots(t, "10.77.0.2", soon)

	if n := len(regexp.MustCompile(`(?m)network changed`).FindAllString(a.daemon.Text(), -1)); n < 5 || n > 9 {
		t.Errorf("%d lines tell of some 7 changes", n)
	}
	n := powerOn(t, l, uefiNode(mac(1)))
	n.boots(t, kernelArgs+" runmode=prod")
}

// TestInterfaceComesLater: the appliance starts before its interface is there, waits
// and says so (bluebanquise 971); two networks, the LAN's not first, from the start
// (tftpd64 17, xcat-core 2147).
func TestInterfaceComesLater(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	r := newRack(t, l)
	if err := a.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.host.Unplug(); err != nil {
		t.Fatal(err)
	}
	a.launch(t)
	a.says(t, `waiting for the network.*there is no interface`)
	a.becomes(t, http.StatusServiceUnavailable, `there is no interface "lan0"`)
	if regexp.MustCompile(`msg=ready`).FindAllString(a.daemon.Text(), -1) != nil {
		t.Error("it is ready without an interface")
	}
	change(t, a.host, "link add lan0 type veth peer name nowhere", "link set lan0 up")
	a.becomes(t, http.StatusServiceUnavailable, "has no IPv4 address")
	change(t, a.host, "link del lan0")
	if err := a.host.Plug(); err != nil {
		t.Fatal(err)
	}
	a.says(t, `msg=ready.*url=http://10.77.0.2 `)
	r.boots(t, "10.77.0.2", soon)
	a.becomes(t, http.StatusOK, "ok")

	if err := a.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	change(t, a.host, "addr flush dev lan0", "addr add 192.168.99.2/24 dev lan0", "addr add 10.77.0.2/16 brd + dev lan0")
	a.start(t)
	if boot, err := r.boot(t); err != nil || boot.Server != netip.MustParseAddr("10.77.0.2") {
		t.Errorf("the first machine boots %v, %v", boot, err)
	}
}

// TestConfiguredAddress: where the LAN does not say which of our addresses machines can
// reach, [network] address does.
func TestConfiguredAddress(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	if err := a.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(a.dir, "appliance.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "appliance.toml", strings.Replace(string(text), "[network]", "[network]\naddress = \"10.77.0.8\"", 1))
	change(t, a.host, "addr add 10.77.0.8/16 dev lan0", "addr add 10.77.0.7/16 dev lan0")
	a.start(t)
	newRack(t, l).boots(t, "10.77.0.8", soon)
}

// TestRootReplaced: another root of the certificate, from a backup say, is what boot
// programs trust from then on: a machine boots by HTTPS after it.
func TestRootReplaced(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{baseHost: "https://" + lab.FirstHost.String()})
	other := t.TempDir()
	config := filepath.Join(other, "appliance.toml")
	text := fmt.Sprintf("state = %q\nbase-host = \"https://boot.example\"\nipxe.template = %q\n", other, a.template)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	image := exec.CommandContext(t.Context(), a.bin, "image", "krn-generic", "-o", filepath.Join(other, "image"), "--config", config)
	err := a.host.Do(image.Start)
	if err == nil {
		err = image.Wait()
	}
	if err != nil {
		t.Fatalf("make another root: %v", err)
	}
	root, err := os.ReadFile(filepath.Join(other, "ca/root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "state/ca/root.pem", string(root))
	a.says(t, `root of the server certificate changed`)
	n := powerOn(t, l, uefiNode(mac(1)))
	n.sees(t, `Fetching the kernel https://`)
	n.boots(t, kernelArgs+" runmode=prod")
}

// says waits for a line of the log.
func (a *appliance) says(t *testing.T, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := a.daemon.Expect(ctx, regexp.MustCompile(line)); err != nil {
		t.Fatal(errors.Join(err, fmt.Errorf("it logged, last:\n%s", a.daemon.Tail(20))))
	}
}
