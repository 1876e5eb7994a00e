package secureboot

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/setup/ca"
	"farmboot/setup/needs"
)

func TestLedger(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	l := &Ledger{Dir: filepath.Join(t.TempDir(), "secure-boot"), Now: func() time.Time { return now }}
	a, b := provisioning.MAC{2, 0, 0, 0, 0, 1}, provisioning.MAC{2, 0, 0, 0, 0, 2}
	if notes, err := l.ToEnrol(); err != nil || len(notes) != 0 || l.Enrolling(a) {
		t.Errorf("nobody was to be enrolled: %v, %v", notes, err)
	}
	for _, m := range []provisioning.MAC{b, a, a} {
		if err := l.Enrol(m); err != nil {
			t.Fatal(err)
		}
	}
	want := []Note{{MAC: a, At: now}, {MAC: b, At: now}}
	if notes, err := l.ToEnrol(); err != nil || !slices.Equal(notes, want) || !l.Enrolling(a) {
		t.Errorf("to be enrolled are %v, %v", notes, err)
	}
	for range 2 {
		if err := l.Enrolled(a); err != nil || l.Enrolling(a) || !l.Enrolling(b) {
			t.Errorf("the enrolment of one goes on, or that of the other ended: %v", err)
		}
	}
	if err := l.Trusts(a, [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	for _, key := range []byte{1, 2} {
		if err := l.Trusts(a, [32]byte{key}); err != nil {
			t.Fatal(err)
		}
		since := now
		if key == 1 {
			since = now.Add(-time.Hour) // it was known
		}
		notes, err := l.Trusting()
		if err != nil || len(notes) != 1 || notes[0].MAC != a || !notes[0].At.Equal(since) || !strings.HasPrefix(notes[0].Key, "0"+string('0'+key)+"00") {
			t.Errorf("trusting are %v, %v", notes, err)
		}
	}
}

func TestExport(t *testing.T) {
	signing := ca.OpenSigning(t.TempDir(), time.Now)
	if err := signing.Rotate(); err != nil {
		t.Fatal(err)
	}
	keys, err := signing.Keys()
	if err != nil {
		t.Fatal(err)
	}
	shim := readShim(t)
	others, err := Authorities(shim, filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(others, func(c *x509.Certificate) bool { return c.Subject.CommonName == "Microsoft Corporation UEFI CA 2011" }) {
		t.Errorf("shim brings along only %d of Microsoft's certificates", len(others))
	}
	dir := filepath.Join(t.TempDir(), "new", "keys")
	for range 2 { // again, over what is there
		if err := Export(dir, keys, others); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if !bytes.Equal(read("FARMBOOT.CER"), keys[0].Cert.Raw) || !bytes.Equal(read("FORMER1.CER"), keys[1].Cert.Raw) {
		t.Error("the certificates are others")
	}
	for name, want := range map[string]int{"PK": 1, "KEK": 2, "db": 2 + len(others), "farmboot": 2} {
		list := read(name + ".esl")
		certs, err := certificatesOf(list)
		if err != nil || len(certs) != want || !certs[0].Equal(keys[0].Cert) {
			t.Errorf("%s.esl holds %d certificates, want %d: %v", name, len(certs), want, err)
		}
		if name == "farmboot" {
			continue
		}
		// EFI_VARIABLE_AUTHENTICATION_2 (UEFI 2.10, 8.2.2): a time, a signature of that
		// length, the list.
		auth := read(name + ".auth")
		if length := int(binary.LittleEndian.Uint32(auth[16:])); !bytes.Equal(auth[16+length:], list) {
			t.Errorf("%s.auth does not end in the list", name)
		}
	}
	if text := string(read("README.txt")); !strings.Contains(text, "Microsoft Corporation UEFI CA 2011") || !strings.Contains(text, "FORMER1.CER") {
		t.Errorf("README.txt:\n%s", text)
	}
	if left, err := os.ReadDir(dir); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".key") }) {
		t.Errorf("a private key is among the files: %v", err)
	}
	// A host's list is what Linux shows: attributes, then the list.
	host := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(host, append([]byte{7, 0, 0, 0}, read("db.esl")...), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := Authorities(shim, host); err != nil || len(again) != len(others) {
		t.Errorf("with the same list of the host: %d certificates, want %d: %v", len(again), len(others), err)
	}
	if _, err := Authorities([]byte("no shim"), host); err == nil {
		t.Error("a text was taken for a shim")
	}
}

// TestUpdates: firmware in Setup Mode is given Microsoft's certificates too, or nothing.
func TestUpdates(t *testing.T) {
	keys, err := ca.OpenSigning(t.TempDir(), time.Now).Keys()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Updates(keys, nil); provisioning.ErrorCode(err) != provisioning.Unavailable {
		t.Errorf("with none of Microsoft's certificates: %v", err)
	}
	others, err := Authorities(readShim(t), filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	updates, err := Updates(keys, others)
	if err != nil || len(updates) != 3 {
		t.Fatalf("%d updates, %v", len(updates), err)
	}
	for _, name := range []string{"db.auth", "KEK.auth", "PK.auth"} {
		if !bytes.Contains(updates[name], keys[0].Cert.Raw) {
			t.Errorf("our certificate is not in %s", name)
		}
	}
	if !bytes.Contains(updates["db.auth"], others[0].Raw) {
		t.Errorf("db.auth has no %s", others[0].Subject.CommonName)
	}
}

func readShim(t *testing.T) []byte {
	t.Helper()
	shim, err := os.ReadFile(filepath.Join(needs.Template(t), "shimx64.efi"))
	if err != nil {
		t.Fatalf("run make template: %v", err)
	}
	return shim
}
