//go:build browser

package pages_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

// daemon is the built program, serving on the loopback interface.
type daemon struct {
	plain, tls string // URLs
	log        *logged
}

// logged is what the daemon has logged so far.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) find(re string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return regexp.MustCompile(re).FindString(l.text.String())
}

// startDaemon starts the program that FARMBOOT_BIN names, with one kernel, and
// waits until it is ready.
func startDaemon(t *testing.T) daemon {
	t.Helper()
	bin, err := filepath.Abs(env("FARMBOOT_BIN", "../../bin/farmboot"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ports := freePorts(t, 2)
	kernels := filepath.Join(dir, "state", "kernel")
	err = errors.Join(
		os.MkdirAll(filepath.Join(kernels, "net"), 0o755),
		os.WriteFile(filepath.Join(kernels, "zos.efi"), []byte("MZ"+strings.Repeat("kernel", 100_000)), 0o644),
		os.Symlink("../zos.efi", filepath.Join(kernels, "net", "prod.efi")),
		os.WriteFile(filepath.Join(dir, "appliance.toml"), fmt.Appendf(nil, `
state = "state"
[network]
interface = "lo"
[dhcp]
enabled = false
[tftp]
enabled = false
[http]
port = %d
tls-port = %d
[ipxe]
template = %q
`, ports[0], ports[1], env("FARMBOOT_TEMPLATE", "/opt/ipxe-template")), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	d := daemon{fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("https://127.0.0.1:%d", ports[1]), &logged{}}
	cmd := exec.Command(bin, "serve", "--config", filepath.Join(dir, "appliance.toml"))
	cmd.Stdout, cmd.Stderr = d.log, d.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (make build)", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil || t.Failed() {
			t.Errorf("the daemon ended: %v\n%s", err, d.log.find(`(?s).*`))
		}
	})
	eventually(t, "the daemon to be ready", func() bool {
		if d.log.find(`\bready\b`) != "" {
			return true
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the daemon ended early: %v\n%s", err, d.log.find(`(?s).*`))
		default:
		}
		return false
	})
	return d
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// freePorts returns ports that are free now.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// boot does what the iPXE of node n does: it asks for its script, and fetches the
// kernel, from an address of its own.
func (d daemon) boot(ctx context.Context, n int) error {
	own := &net.TCPAddr{IP: net.IPv4(127, 1, 0, byte(n+1))}
	client := http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: own}).DialContext, DisableKeepAlives: true}}
	for _, path := range []string{"/provision/" + macOf(n).String(), "/kernel/net/prod.efi"} {
		if _, err := fetch(ctx, &client, d.plain+path); err != nil {
			return err
		}
	}
	return nil
}

func fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, r.Status, body)
	}
	return body, err
}

// TestDaemon uses the pages of the built program: a farmer downloads an image, an
// admin signs in with the link in the log and watches fifty nodes boot.
func TestDaemon(t *testing.T) {
	d := startDaemon(t)
	tab := newBrowser(t, d.plain, d.tls)

	dir := tab.downloads()
	tab.open("/generate")
	tab.fill("#farmer", "1234")
	for format, name := range map[string]string{"usb": "ipxe-prod-1234.img", "uefimg": "uefiusb-prod-1234.img", "iso": "ipxe-prod-1234.iso", "krn": "ipxe-prod-1234.lkrn", "uefi": "ipxe-prod-1234.efi", "snponly": "ipxe-snp-prod-1234.efi"} {
		tab.click("input[name=format][value=" + format + "]")
		tab.says(".filename", name)
		url := d.plain + "/" + format + "/prod/1234"
		want, err := fetch(t.Context(), http.DefaultClient, url)
		if err != nil {
			t.Fatal(err)
		}
		sums, err := fetch(t.Context(), http.DefaultClient, url+".sha256")
		if err != nil {
			t.Fatal(err)
		}
		if shown := get(tab, chromedp.TextContent("#sum")) + "  " + name + "\n"; shown != string(sums) {
			t.Errorf("shown is %q, served %q", shown, sums)
		}
		tab.click("#product .primary")
		eventually(t, "the download of "+name, func() bool {
			got, err := os.ReadFile(filepath.Join(dir, name))
			return err == nil && bytes.Equal(got, want)
		})
	}
	for _, path := range []string{"/expert", "/images"} {
		tab.open(path)
		tab.says("main", "zos.efi")
	}

	// Plain HTTP only leads to the admin pages.
	tab.open("/admin")
	tab.wait("document.querySelector('main a.button')?.href === '" + d.tls + "/admin'")
	link := d.log.find(`https://[^ "]*/admin/signin\?code=\w+`)
	tab.url, tab.too = d.tls, d.plain
	tab.open(strings.TrimPrefix(link, d.tls))
	tab.click("main button")
	tab.wait("location.pathname === '/admin'")
	tab.says("#live", "Live")
	var booting sync.WaitGroup
	for n := range 50 {
		booting.Go(func() {
			if err := d.boot(t.Context(), n); err != nil {
				t.Error(err)
			}
		})
	}
	booting.Wait()
	tab.wait("document.querySelectorAll('#board > .started').length === 50")
}
