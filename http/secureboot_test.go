package http_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apphttp "farmboot/http"
	"farmboot/ipxe/binary/authenticode"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/kernel/signed"
	"farmboot/ipxe/segment"
	"farmboot/provisioning"
	"farmboot/setup/ca"
	"farmboot/setup/needs"
)

// ledger is where nodes stand with Secure Boot.
type ledger struct {
	enrolling map[provisioning.MAC]bool
	trusting  []provisioning.MAC
	noKeyDisk error
	noMok     bool // there is no MokManager
}

func (l *ledger) Enrolling(m provisioning.MAC) bool { return l.enrolling[m] }
func (l *ledger) Enrolled(m provisioning.MAC)       { delete(l.enrolling, m) }
func (l *ledger) Trusts(m provisioning.MAC)         { l.trusting = append(l.trusting, m) }

func (l *ledger) HasMokManager() bool { return !l.noMok }
func (l *ledger) NoKeyDisk() error    { return l.noKeyDisk }

func (l *ledger) Fingerprint() (f [sha256.Size]byte, err error) { return [sha256.Size]byte{0xab}, nil }

// names is a catalog that says under which name it was asked.
type names struct{ programs }

func (names) Program(name string, _ netip.Addr) (catalog.File, error) {
	return catalog.File{Name: name, ContentType: "application/efi", ETag: `"1"`, Content: segment.Of([]byte(name))}, nil
}

// TestShimsNames: shim asks with a slash too many, and follows no redirect.
func TestShimsNames(t *testing.T) {
	b := newBench(t)
	b.Catalog = names{}
	for path, want := range map[string]string{
		"/boot/shimx64.efi": "shimx64.efi", "/boot//grubx64.efi": "grubx64.efi",
		"/boot/snp/shimx64.efi": "snp/shimx64.efi", "/boot/snp//grubx64.efi": "snp/grubx64.efi",
		"/boot/%2e%2e/x": "../x",
	} {
		if res := b.get(path); res.Code != http.StatusOK || res.Body.String() != want {
			t.Errorf("%s: %d, %q, want %q", path, res.Code, res.Body, want)
		}
	}
}

func TestEnrolment(t *testing.T) {
	b := newBench(t)
	mac := provisioning.MAC{2, 0, 0, 0, 0, 1}
	b.nodes[mac] = provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: mac, RunMode: "prod"}}
	l := &ledger{enrolling: map[provisioning.MAC]bool{mac: true}}
	path := "/provision/" + mac.String()
	if res := b.get(path); !strings.Contains(res.Body.String(), "/kernel/net/prod.efi") {
		t.Errorf("Secure Boot is off, and the node gets\n%s", res.Body)
	}
	b.SecureBoot, b.Catalog = l, names{}
	res := b.get(path + "?secureboot=00").Body.String()
	for _, want := range []string{"imgfetch --name FARMBOOT.CER http://192.0.2.1/boot/FARMBOOT.CER", "chain http://192.0.2.1/boot/mmx64.efi?enrol=" + mac.String(), "AB 00", "Enroll key from disk"} {
		if !strings.Contains(res, want) {
			t.Errorf("the script for an enrolment does not hold %q:\n%s", want, res)
		}
	}
	if !l.Enrolling(mac) {
		t.Error("the enrolment ended before MokManager was fetched")
	}
	if res := b.get("/boot/mmx64.efi?enrol=" + mac.String()); res.Code != http.StatusOK || l.Enrolling(mac) {
		t.Errorf("%d; the enrolment goes on: %v", res.Code, l.Enrolling(mac))
	}
	// A node that runs what we signed has nothing to be enrolled for.
	l.enrolling[mac] = true
	if res := b.get(path + "?secureboot=01"); !strings.Contains(res.Body.String(), "/kernel/net/prod.efi") || l.Enrolling(mac) || !slices.Equal(l.trusting, []provisioning.MAC{mac}) {
		t.Errorf("trusting: %v\n%s", l.trusting, res.Body)
	}
}

// TestSetupMode: firmware that takes keys unasked is given ours, where that was asked for.
func TestSetupMode(t *testing.T) {
	b := newBench(t)
	mac := provisioning.MAC{2, 0, 0, 0, 0, 1}
	b.nodes[mac] = provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: mac, RunMode: "prod"}}
	l := &ledger{enrolling: map[provisioning.MAC]bool{}}
	b.SecureBoot, b.Catalog = l, names{}
	const writes = "sanboot --no-describe http://192.0.2.1/boot/keys.img?enrol="
	ask := func(query string) string { return b.get("/provision/" + mac.String() + "?" + query).Body.String() }
	const inSetupMode = "platform=efi&arch=x86_64&secureboot=00&setupmode=01"
	if got := ask(inSetupMode); strings.Contains(got, writes) || !strings.Contains(got, "/kernel/net/prod.efi") {
		t.Errorf("nobody asked to enrol it, and it gets\n%s", got)
	}
	l.enrolling[mac] = true
	for query, want := range map[string]string{
		inSetupMode: writes + mac.String(),
		"platform=efi&arch=x86_64&secureboot=00&setupmode=00": "/boot/mmx64.efi",
		"platform=efi&arch=x86_64&secureboot=00":              "/boot/mmx64.efi", // a script of ours from before
		"platform=efi&arch=arm64&secureboot=00&setupmode=01":  "/boot/mmx64.efi",
	} {
		if got := ask(query); !strings.Contains(got, want) {
			t.Errorf("%s: no %s in\n%s", query, want, got)
		}
	}
	l.noKeyDisk = provisioning.Errorf(provisioning.Unavailable, "no systemd-boot here")
	if got := ask(inSetupMode); !strings.Contains(got, "no systemd-boot here") || !strings.Contains(got, "/boot/mmx64.efi") {
		t.Errorf("what is missing is not said:\n%s", got)
	}
	l.noMok = true // with iPXE's own pair
	if got := ask(inSetupMode); !strings.Contains(got, "/kernel/net/prod.efi") {
		t.Errorf("there is nothing to enrol it with, and it gets\n%s", got)
	}
	l.noKeyDisk = nil
	if got := ask(inSetupMode); !strings.Contains(got, writes) {
		t.Errorf("without MokManager, in Setup Mode: it gets\n%s", got)
	}
	// The disk is read in pieces, by HEAD first: one of them ends it, and is told of.
	b.do(http.MethodHead, "/boot/keys.img?enrol="+mac.String()+"&mac="+mac.String()).Body.Close()
	if !l.Enrolling(mac) {
		t.Error("the enrolment ended before the disk was read")
	}
	before := len(b.events)
	for range 3 {
		if res := b.get("/boot/keys.img?enrol=" + mac.String() + "&mac=" + mac.String()); res.Code != http.StatusOK || l.Enrolling(mac) {
			t.Errorf("%d; the enrolment goes on: %v", res.Code, l.Enrolling(mac))
		}
	}
	if told := b.events[before:]; len(told) != 1 || told[0].Stage != provisioning.StageNBP || told[0].File != "keys.img" || told[0].MAC != mac {
		t.Errorf("told of the disk: %+v", told)
	}
}

// signKernels has b sign its kernels, and returns the certificate of the key.
func (b *bench) signKernels() *x509.Certificate {
	b.t.Helper()
	keys, err := ca.OpenSigning(b.t.TempDir(), time.Now).Keys()
	if err != nil {
		b.t.Fatal(err)
	}
	b.Signed = &signed.Store{Kernels: b.Kernels, Dir: b.t.TempDir(), Keys: func() ([]authenticode.Key, string, error) {
		return []authenticode.Key{{Private: keys[0].Private, Cert: keys[0].Cert}}, "key", nil
	}}
	return keys[0].Cert
}

// aProgram is an EFI program that nobody has signed.
func aProgram(t *testing.T) []byte {
	t.Helper()
	program, err := os.ReadFile(filepath.Join(needs.Template(t), "snponly.efi"))
	if err != nil {
		t.Fatalf("run make template: %v", err)
	}
	return program
}

// isSignedBy tells whether firmware that trusts cert starts a program.
func isSignedBy(t *testing.T, program []byte, cert *x509.Certificate) bool {
	t.Helper()
	p, err := authenticode.Parse(bytes.NewReader(program), int64(len(program)))
	if err != nil {
		t.Fatal(err)
	}
	return p.Verify(cert) == nil
}

// TestSignedPull: of a chain of appliances that all sign, each takes the kernel as its
// maker built it, and signs it with its own key alone, for the node that asked first too.
func TestSignedPull(t *testing.T) {
	hub := newBench(t)
	hubCert := hub.signKernels()
	program := aProgram(t)
	hub.write("net/test.efi", string(program))
	hubServer := httptest.NewServer(apphttp.Plane(&hub.Boot))
	defer hubServer.Close()
	farm, server := newFarm(t, hubServer.URL)
	cert := farm.signKernels()
	for range 2 {
		status, text, _, err := fetch(t, server.URL+"/kernel/net/test.efi?mac=52:54:00:00:00:01")
		if status != http.StatusOK || err != nil {
			t.Fatalf("status %d, %v", status, err)
		}
		if got := []byte(text); !isSignedBy(t, got, cert) || isSignedBy(t, got, hubCert) {
			t.Error("the node's kernel is not signed by the farm's key alone")
		}
	}
	if _, text, _, err := fetch(t, server.URL+"/kernel/net/test.efi?original"); text != string(program) || err != nil {
		t.Errorf("the original is another file: %v", err)
	}
}

func TestSignedKernel(t *testing.T) {
	b := newBench(t)
	program := aProgram(t)
	b.write("signed.efi", string(program))
	cert := b.signKernels()
	for path, wantSigned := range map[string]bool{"/kernel/signed.efi": true, "/kernel/signed.efi?original": false} {
		body := b.get(path).Body.Bytes()
		if isSignedBy(t, body, cert) != wantSigned {
			t.Errorf("%s: signed %v, want %v", path, !wantSigned, wantSigned)
		}
		if !wantSigned && !bytes.Equal(body, program) {
			t.Error("the original is another file")
		}
		sum := b.get(strings.Replace(path, ".efi", ".efi.sha256", 1)).Body.String()
		if want := fmt.Sprintf("%x", sha256.Sum256(body)); !strings.HasPrefix(sum, want) {
			t.Errorf("%s: digest %s, want %s", path, sum, want)
		}
	}
	if body := b.get("/kernel/zos.efi").Body.String(); body != "MZ zos kernel" {
		t.Errorf("what cannot be signed goes out as %q", body)
	}
	if body := b.get("/kernel/zos.efi.sha256").Body.String(); !strings.HasPrefix(body, fmt.Sprintf("%x", sha256.Sum256([]byte("MZ zos kernel")))) {
		t.Errorf("its digest: %s", body)
	}
}

// reply is a response with its body read.
type reply struct {
	Code int
	Body *bytes.Buffer
}

func (b *bench) get(target string) reply {
	b.t.Helper()
	res := b.do(http.MethodGet, target)
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil {
		b.t.Fatal(err)
	}
	return reply{res.StatusCode, &body}
}
