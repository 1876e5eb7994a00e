package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"farmboot/ipxe/kernel/kerneltest"
)

// These tests run a daemon for which an hour is a minute, and read what a program receives
// from [alerts] urls.

// message is a webhook's body, as a program reads it that somebody else has written.
type message struct {
	Kind       string
	Appliance  string
	Conditions []struct {
		Key, Text string
		Cure      []string
	}
	Standing int
	Notices  []struct {
		Key, Text     string
		Details, Cure []string
	}
}

// receiver is a program that takes messages, and refuses what is not signed.
type receiver struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex
	in []message
}

const webhookSecret = "between us"

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	r.Server = httptest.NewServer(http.HandlerFunc(r.receive))
	t.Cleanup(r.Close)
	return r
}

// url is what [alerts] urls names.
func (r *receiver) url() string {
	return "webhook+" + r.URL + "/farm?secret=" + strings.ReplaceAll(webhookSecret, " ", "%20")
}

func (r *receiver) receive(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		r.t.Error(err)
	}
	at, signature, _ := strings.Cut(strings.TrimPrefix(q.Header.Get("Farmboot-Signature"), "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	fmt.Fprintf(mac, "%s.%s", at, body)
	if signature != hex.EncodeToString(mac.Sum(nil)) || q.URL.RawQuery != "" {
		r.t.Errorf("wrong signature %q, or a query %q", signature, q.URL.RawQuery)
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Errorf("%v: %s", err, body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.in = append(r.in, m)
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) messages() []message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.in)
}

// told lists what was told so far, by key, with its text, details and cure. Twice the same
// is a mistake.
func (r *receiver) told() map[string]string {
	all := make(map[string]string)
	note := func(key, text string, more ...[]string) {
		for _, m := range more {
			text += "\n" + strings.Join(m, "\n")
		}
		if all[key] == text {
			r.t.Errorf("told twice: %s", text)
		}
		all[key] = text
	}
	for _, m := range r.messages() {
		for _, c := range m.Conditions {
			if len(c.Cure) == 0 {
				r.t.Errorf("no cure: %+v", c)
			}
			note(c.Key, c.Text, c.Cure)
		}
		for _, n := range m.Notices {
			note(n.Key, n.Text, n.Details, n.Cure)
		}
	}
	return all
}

// tells waits until all these keys were told, with these words, and fails where that does
// not come.
func (r *receiver) tells(want map[string]string) {
	r.t.Helper()
	missing := func() (list []string) {
		told := r.told()
		for key, words := range want {
			if !strings.Contains(told[key], words) {
				list = append(list, fmt.Sprintf("%s: %q, got %q", key, words, told[key]))
			}
		}
		return list
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * waitLimit); len(missing()) > 0; <-tick.C {
		if time.Now().After(end) {
			r.t.Fatalf("not told:\n%s", strings.Join(missing(), "\n"))
		}
	}
}

// mended waits for "all well", which comes once, and says that nothing is wrong.
func (r *receiver) mended() {
	r.t.Helper()
	wells := func() (list []message) {
		for _, m := range r.messages() {
			if m.Kind == "well" {
				list = append(list, m)
			}
		}
		return list
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * waitLimit); len(wells()) == 0; <-tick.C {
		if time.Now().After(end) {
			r.t.Fatalf("all is not well: %+v", r.messages())
		}
	}
	if w := wells(); len(w) != 1 || w[0].Standing != 0 || len(w[0].Conditions) != 0 {
		r.t.Errorf("all well: %+v", w)
	}
}

// release is an upstream.
type release struct {
	*httptest.Server
	how atomic.Value // what is there: text, or "gone"
}

func newRelease(t *testing.T, first string) *release {
	r := new(release)
	r.how.Store(first)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		text := r.how.Load().(string)
		switch {
		case text == "gone":
			panic(http.ErrAbortHandler)
		case q.URL.Path != "/kernel/net/prod.efi":
			http.NotFound(w, q)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Etag", fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(text))))
		http.ServeContent(w, q, "", time.Time{}, strings.NewReader(text))
	}))
	t.Cleanup(r.Close)
	return r
}

// fetch gets a path as the nth node, which has an address of its own.
func (d *daemon) fetch(n byte, path string) (int, string) {
	d.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, n)}}
	client := http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", d.port, path), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		d.t.Error(err)
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		d.t.Error(err)
	}
	return answer.StatusCode, string(text)
}

// nodeMAC is the MAC address of the nth node.
func nodeMAC(n byte) string { return fmt.Sprintf("52:54:00:00:00:%02x", n) }

// boots has the nth node fetch its script and the kernel that this names.
func (d *daemon) boots(n byte) {
	d.t.Helper()
	_, script := d.fetch(n, "/provision/"+nodeMAC(n))
	_, rest, ok := strings.Cut(script, "/kernel/")
	if !ok {
		d.t.Errorf("node %d boots no kernel:\n%s", n, script)
		return
	}
	name := rest[:strings.IndexAny(rest+" ", " \n")]
	if status, _ := d.fetch(n, "/kernel/"+name); status != http.StatusOK {
		d.t.Errorf("node %d: kernel %s: status %d", n, name, status)
	}
}

// keepsBooting has a node boot again and again, until the function is called.
func (d *daemon) keepsBooting(n byte) (stop func()) {
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			d.boots(n)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() { cancel(); <-done }
}

// do runs a command, which must succeed.
func (d *daemon) do(args ...string) string {
	d.t.Helper()
	status, out, errs := d.command(args...)
	if status != 0 {
		d.t.Fatalf("farmboot %s: %d %s", strings.Join(args, " "), status, errs)
	}
	return out
}

// certificate writes a certificate of somebody else's authority that ends then.
func certificate(t *testing.T, folder string, end time.Time) (cert, key string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(end.Unix()), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: end.AddDate(-1, 0, 0), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der},
		key:  {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTroublesAreTold: a node in a crash loop, one that has stalled, one that waits to be
// claimed, a certificate that ends and a broken release are told once each, in few
// messages; and once all of that is mended, that all is well.
func TestTroublesAreTold(t *testing.T) {
	t.Parallel()
	to, folder := newReceiver(t), t.TempDir()
	first := kerneltest.EFI(strings.Repeat("first ", 50_000))
	up := newRelease(t, first)
	d := startDaemonAs(t, "farmboot-hasty", func(d *daemon) {
		cert, key := certificate(t, folder, time.Now().AddDate(0, 0, 7))
		d.configure(fmt.Sprintf("alerts.urls = [%q]\nkernel.upstream = %q\nkernel.refresh = \"1s\"\nprovisioning.unknown = \"hold\"\nhttp.tls-cert = %q\nhttp.tls-key = %q", to.url(), up.URL, cert, key))
	})
	d.says("took a kernel from upstream", 1)
	for _, n := range []byte{1, 2} {
		d.do("node", "add", nodeMAC(n), "--name", fmt.Sprintf("rack %d", n))
	}
	up.how.Store(first[:len(first)/2])
	stop := d.keepsBooting(1)
	d.fetch(2, "/provision/"+nodeMAC(2))
	d.fetch(3, "/provision/"+nodeMAC(3))
	to.tells(map[string]string{
		"kernel taken":                "all nodes of run mode prod boot it from now on",
		"kernel refused net/prod.efi": "is cut short",
		"crash loop " + nodeMAC(1):    "rack 1 (" + nodeMAC(1) + ") is in a crash loop: ",
		"stalled " + nodeMAC(2):       "rack 2 (" + nodeMAC(2) + "): Stalled, ",
		"held " + nodeMAC(3):          "waits to be claimed",
		"certificate it ends on " + time.Now().AddDate(0, 0, 7).UTC().Format(time.DateOnly) + ": renew it": "put a new certificate and its key in the place of ",
	})
	if n := len(to.messages()); n > 4 {
		t.Errorf("%d messages, a flood: %+v", n, to.messages())
	}
	if status, text := d.get("/kernel/net/prod.efi"); status != http.StatusOK || text != first {
		t.Errorf("what was here is gone: status %d, %d bytes", status, len(text))
	}

	stop()
	up.how.Store(first)
	d.boots(2)
	d.do("node", "add", nodeMAC(3))
	d.boots(3)
	certificate(t, folder, time.Now().AddDate(1, 0, 0))
	to.mended()
	to.told() // and nothing twice
}

// TestEventsAreTold: an upstream that is silent, a machine that nobody knows, a kernel that
// is taken back with the stories of its nodes, and one that somebody went back from.
func TestEventsAreTold(t *testing.T) {
	t.Parallel()
	to := newReceiver(t)
	first := kerneltest.EFI("first")
	up := newRelease(t, first)
	d := startDaemonAs(t, "farmboot-hasty", func(d *daemon) {
		d.configure(fmt.Sprintf("alerts.urls = [%q]\nkernel.upstream = %q\nkernel.refresh = \"1s\"", to.url(), up.URL))
	})
	d.says("took a kernel from upstream", 1)
	file := filepath.Join(t.TempDir(), "next.efi")
	if err := os.WriteFile(file, []byte(kerneltest.EFI("next")), 0o644); err != nil {
		t.Fatal(err)
	}
	d.do("kernel", "add", file)
	d.do("node", "add", nodeMAC(1), "--name", "rack 1")
	d.do("kernel", "use", "prod", "next.efi", "--canary", nodeMAC(1))
	up.how.Store("gone")
	d.fetch(9, "/provision/"+nodeMAC(9))
	for range 4 {
		d.boots(1)
	}
	to.tells(map[string]string{
		"upstream silent":   "nodes boot what they did before",
		"unknown machine":   "unknown machine " + nodeMAC(9) + " asked to boot: it boots run mode prod",
		"kernel taken back": "rack 1 (" + nodeMAC(1) + "): ",
	})
	for _, words := range []string{"kernel next.efi is taken back from run mode prod: ", "each netbooted again soon after its kernel", "the screens of these nodes"} {
		if told := to.told()["kernel taken back"]; !strings.Contains(told, words) {
			t.Errorf("taken back: %q, want %q in it", told, words)
		}
	}
	d.do("kernel", "use", "prod", "next.efi")
	d.do("kernel", "rollback", "prod")
	up.how.Store(first)
	to.tells(map[string]string{"kernel rolled back": "took run mode prod back: it boots prod-"})
	to.mended()
}
