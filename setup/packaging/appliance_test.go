//go:build packages

package packaging

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"farmboot/setup/ca"
	"farmboot/setup/lab"
)

// TestAppliance boots the appliance image, written to a disk that is larger, with each
// firmware that PCs have; reads from its screen how to sign in; and boots a second
// machine, which has no disk, through it.
func TestAppliance(t *testing.T) {
	image := filepath.Join(t.TempDir(), "appliance.img")
	output(t, "zstd", "--quiet", "--decompress", "--sparse", "-o", image, dist(t, "farmboot-appliance-VERSION-amd64.img.zst"))
	if err := os.Truncate(image, 8<<30); err != nil {
		t.Fatal(err)
	}
	for _, firmware := range []lab.Firmware{lab.BIOS, lab.UEFI} {
		t.Run(string(firmware), func(t *testing.T) {
			l, laptop := newLAN(t)
			vm, err := l.PowerOn(lab.Machine{
				Name: "appliance", Firmware: firmware, MemoryMiB: 1024, Disk: image,
				NICs: []lab.NIC{{MAC: "52:54:00:00:13:06", NoBoot: true}},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			screen := func(pattern string) string {
				t.Helper()
				match, err := vm.Expect(ctx, regexp.MustCompile(pattern))
				if err != nil {
					t.Fatal(err)
				}
				return match[1]
			}
			board := screen(`Board: +(https://\S+)/admin\s`)
			fingerprint := screen(`Certificate: +((?:[0-9A-F]{2}:){31}[0-9A-F]{2})\s`)
			link := screen(`Sign in, once[^\n]*\s+(https://\S+)\s`)
			signIn(t, laptop, board, fingerprint, link)

			if err := vm.Type("\r"); err != nil {
				t.Fatal(err)
			}
			shell := func(command string) string {
				t.Helper()
				if err := vm.Type(command + "; echo ended: $?\r"); err != nil {
					t.Fatal(err)
				}
				// What is echoed ends with $?, not with a number.
				match, err := vm.Expect(ctx, regexp.MustCompile(`(?s)(.*?)ended: (\d+)\r*\n`))
				if err != nil {
					t.Fatal(err)
				}
				if match[2] != "0" {
					t.Fatalf("%s exits with %s:\n%s", command, match[2], match[1])
				}
				return match[1]
			}
			shell("! touch /file 2>/dev/null")
			shell("! touch /usr/bin/file 2>/dev/null")
			shell("[ $(findmnt -bno SIZE /var) -gt 4000000000 ]")
			shell("[ $(cat /proc/sys/net/core/rmem_max) = 8388608 ]")
			shell("! farmboot doctor | grep -iE 'ipxe.*(missing|not)'")
			shell("farmboot kernel add " + serveKernel(t, laptop))
			shell("farmboot kernel use prod zos.efi")
			const mac = "52:54:00:00:13:07"
			shell("farmboot node add " + mac + " --farmer 1234 --args console=ttyS0")
			shell("farmboot doctor")
			bootsNode(t, l, lab.Machine{Name: "node", Firmware: firmware, NICs: []lab.NIC{{MAC: mac}}}, func() string { return vm.Tail(40) })
			shell("farmboot node show " + mac + " | grep 'fetched its kernel'")
		})
	}
}

// signIn uses what the screen says: the certificate authority is the one of that
// fingerprint, the board has a certificate of it, and the link signs in.
func signIn(t *testing.T, from *lab.Host, board, fingerprint, link string) {
	t.Helper()
	get := func(client *http.Client, url string) (*http.Response, []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer, body
	}
	dial := func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = from.Do(func() error {
			c, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}
	plain := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	_, authority := get(plain, "http"+strings.TrimPrefix(board, "https")+"/ca.pem")
	block, _ := pem.Decode(authority)
	if block == nil {
		t.Fatalf("/ca.pem is no certificate: %q", authority)
	}
	if sum := ca.Colons(sha256.Sum256(block.Bytes)); sum != fingerprint {
		t.Errorf("the screen shows the certificate %s, /ca.pem is %s", fingerprint, sum)
	}
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(authority)
	secure := &http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: trust}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, body := get(secure, link)
	if answer.StatusCode >= http.StatusBadRequest {
		t.Errorf("the link of the screen: %s\n%s", answer.Status, body)
	}
	answer, _ = get(secure, board+"/api/v1/nodes")
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the link the API says %s", answer.Status)
	}
}

// serveKernel has a host of the LAN serve the test kernel, and returns its URL.
func serveKernel(t *testing.T, host *lab.Host) (url string) {
	t.Helper()
	l := listenOn(t, host)
	server := &http.Server{ReadHeaderTimeout: limit, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, testKernel())
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return "http://" + l.Addr().String() + "/zos.efi"
}
