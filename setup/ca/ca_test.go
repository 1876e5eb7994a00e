package ca

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is what a Server asks of the outside.
type world struct {
	names []string
	now   time.Time
	log   bytes.Buffer
}

func (w *world) options(dir string) Options {
	return Options{
		Dir:   dir,
		Names: func() []string { return w.names },
		Now:   func() time.Time { return w.now },
		Log:   slog.New(slog.NewTextHandler(&w.log, nil)),
	}
}

func newWorld() *world {
	return &world{now: today, names: []string{"boot.example.org", "localhost", "192.0.2.1", "::1"}}
}

func openServer(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func leaf(t *testing.T, s *Server) *x509.Certificate {
	t.Helper()
	if err := s.Renew(); err != nil {
		t.Fatal(err)
	}
	c, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

// handshake connects as iPXE does: TLS 1.2, ECDHE-RSA with AES-GCM, one root.
func handshake(t *testing.T, s *Server, name string, rootPEM []byte) (tls.ConnectionState, error) {
	t.Helper()
	if err := s.Renew(); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(rootPEM)
	here, there := net.Pipe()
	var server sync.WaitGroup
	server.Go(func() {
		c := tls.Server(there, s.Config())
		c.Handshake() // the client's side tells
		there.Close()
	})
	defer server.Wait()
	defer here.Close()
	c := tls.Client(here, &tls.Config{
		RootCAs: roots, ServerName: name, Time: s.now,
		MaxVersion:   tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	})
	err := c.HandshakeContext(t.Context())
	return c.ConnectionState(), err
}

func TestOwnCertificate(t *testing.T) {
	dir, w := filepath.Join(t.TempDir(), "state", "ca"), newWorld()
	s := openServer(t, w.options(dir))
	for _, name := range []string{"boot.example.org", "localhost", "192.0.2.1", "::1"} {
		state, err := handshake(t, s, name, s.RootPEM())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := len(state.PeerCertificates); n != 2 {
			t.Fatalf("%s: %d certificates were sent, want server and root", name, n)
		}
		fingerprint, own := s.Trust()
		if sha256.Sum256(state.PeerCertificates[1].Raw) != fingerprint || !own {
			t.Errorf("%s: Trust is not about the root that was sent", name)
		}
		for _, c := range state.PeerCertificates {
			if c.PublicKeyAlgorithm != x509.RSA || c.SignatureAlgorithm != x509.SHA256WithRSA {
				t.Errorf("%s: %v, %v", name, c.PublicKeyAlgorithm, c.SignatureAlgorithm)
			}
		}
	}
	if _, err := handshake(t, s, "other.example.org", s.RootPEM()); err == nil {
		t.Error("a name that is not ours is accepted")
	}
	c := leaf(t, s)
	if c.NotBefore.After(today.Add(-12*time.Hour)) || c.NotAfter.Sub(c.NotBefore) > 825*day {
		t.Errorf("valid from %v to %v", c.NotBefore, c.NotAfter)
	}
	for _, name := range []string{dir, filepath.Join(dir, rootFile), filepath.Join(dir, serverFile)} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: others may look into it: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestOwnCertificateIsKept(t *testing.T) {
	dir, w := t.TempDir(), newWorld()
	s := openServer(t, w.options(dir))
	first := leaf(t, s)
	tests := []struct {
		name   string
		change func()
		kept   bool
	}{
		{"nothing changed", func() {}, true},
		{"a name went", func() { w.names = w.names[1:] }, true},
		{"some months later", func() { w.now = first.NotAfter.Add(-renewBefore) }, true},
		{"near the end", func() { w.now = first.NotAfter.Add(-renewBefore + time.Second) }, false},
		{"the clock was set back by years", func() { w.now = today.AddDate(-5, 0, 0) }, false},
		{"a name came", func() { w.names = append(w.names, "new.lan") }, false},
		{"an address came", func() { w.names = append(w.names, "198.51.100.7") }, false},
		{"names that no certificate holds", func() { w.names = append(w.names, "", "a b", "héllo") }, true},
		{"the file is damaged", func() { os.WriteFile(filepath.Join(dir, serverFile), []byte("x"), 0o600) }, false},
	}
	last := first
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.change()
			again := openServer(t, w.options(dir)) // a restart
			c := leaf(t, again)
			if kept := c.Equal(last); kept != tt.kept {
				t.Errorf("kept: %v, want %v", kept, tt.kept)
			}
			if !bytes.Equal(again.RootPEM(), s.RootPEM()) {
				t.Error("the root changed")
			}
			if !leaf(t, s).Equal(c) {
				t.Error("a running server has another certificate")
			}
			last = c
		})
	}
}

func TestRunRenews(t *testing.T) {
	w := newWorld()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var later atomic.Int64 // nanoseconds: between the tick before and this one, that much time went by
		o := w.options(dir)
		o.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		s := openServer(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { s.Run(ctx) })
		tick := func() *x509.Certificate {
			time.Sleep(interval)
			synctest.Wait()
			c, err := s.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return c.Leaf
		}
		first := tick()
		later.Store(int64(validity - renewBefore - time.Hour))
		if !tick().Equal(first) {
			t.Error("renewed too early")
		}
		later.Add(int64(2 * time.Hour))
		if tick().Equal(first) {
			t.Error("not renewed in time")
		}
		cancel()
		run.Wait()
	})
}

func TestOneRootOfManyStarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	var roots [8][]byte
	var all sync.WaitGroup
	for i := range roots {
		all.Go(func() {
			r, err := OpenRoot(dir)
			if err != nil {
				t.Error(err)
				return
			}
			roots[i] = r.PEM()
		})
	}
	all.Wait()
	for _, r := range roots[1:] {
		if !bytes.Equal(r, roots[0]) {
			t.Fatal("two certificate authorities were made")
		}
	}
}

const helperDir = "CA_TEST_HELPER_DIR"

// TestHelperOpensForever is the process that TestKilled kills.
func TestHelperOpensForever(t *testing.T) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		return
	}
	w := newWorld()
	for i := 0; ; i++ {
		w.names = []string{fmt.Sprintf("n%d.lan", i)} // a new certificate each time
		if err := openServer(t, w.options(dir)).Renew(); err != nil {
			t.Fatal(err)
		}
		fmt.Println("opened")
	}
}

// TestKilled kills processes that make authorities and certificates: what they
// leave is good, and the root, once made, stays.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	var root []byte
	for i := range 10 {
		helper := exec.CommandContext(t.Context(), os.Args[0], "-test.run=TestHelperOpensForever")
		helper.Env = append(os.Environ(), helperDir+"="+dir)
		out, err := helper.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := helper.Start(); err != nil {
			t.Fatal(err)
		}
		if i > 0 { // the first is killed at any moment, the others while they rewrite
			out.Read(make([]byte, 1))
		}
		helper.Process.Kill()
		helper.Wait()
		if i == 0 {
			if _, err := loadRoot(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			continue
		}
		r, err := loadRoot(dir)
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		if root != nil && !bytes.Equal(root, r.PEM()) {
			t.Fatalf("round %d: the root changed", i)
		}
		root = r.PEM()
	}
	w := newWorld()
	leaf(t, openServer(t, w.options(dir)))
}

func TestDamagedRootIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, rootFile)
	other, err := newRoot()
	if err != nil {
		t.Fatal(err)
	}
	root, err := newRoot()
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := encode(other.key, root.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{nil, []byte("hello"), root.PEM(), mixed} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenRoot(dir); err == nil || !strings.Contains(err.Error(), name+" is damaged") {
			t.Errorf("%.20q: error %v", text, err)
		}
		if after, err := os.ReadFile(name); err != nil || !bytes.Equal(after, text) {
			t.Errorf("%.20q: the file was changed to %.20q", text, after)
		}
	}
}

// operator makes files as an operator has them: a server's key and chain.
type operator struct {
	certFile, keyFile string
}

func (o operator) write(t *testing.T, key any, chain ...*x509.Certificate) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var certs []byte
	for _, c := range chain {
		certs = append(certs, certPEM(c.Raw)...)
	}
	for name, text := range map[string][]byte{o.certFile: certs, o.keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOperatorsCertificate(t *testing.T) {
	root, err := newRoot()
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		t.Fatal(err)
	}
	server, err := sign(serverTemplate(parseNames(newWorld().names), today), root.cert, key, root.key)
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AddCert(root.cert)
	unknown := x509.NewCertPool()
	tests := []struct {
		name    string
		chain   []*x509.Certificate
		roots   *x509.CertPool
		private []*x509.Certificate
		own     bool
		pinned  *x509.Certificate
		sent    int
	}{
		{"public root, not in the file", []*x509.Certificate{server}, known, nil, false, root.cert, 2},
		{"public root, in the file", []*x509.Certificate{server, root.cert}, known, nil, false, root.cert, 2},
		{"root that the administrator added", []*x509.Certificate{server}, known, []*x509.Certificate{root.cert}, true, root.cert, 2},
		{"private root in the file", []*x509.Certificate{server, root.cert}, unknown, nil, true, root.cert, 2},
		{"root nowhere: the last is pinned", []*x509.Certificate{server}, unknown, nil, true, server, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			op := operator{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
			op.write(t, key, tt.chain...)
			w := newWorld()
			s, err := open(&files{op.certFile, op.keyFile, func(c []*x509.Certificate, now time.Time) (*x509.Certificate, bool) {
				return rootOf(c, tt.roots, tt.private, now)
			}}, w.options(dir))
			if err != nil {
				t.Fatal(err)
			}
			fingerprint, own := s.Trust()
			if own != tt.own || fingerprint != sha256.Sum256(tt.pinned.Raw) || !bytes.Equal(s.RootPEM(), certPEM(tt.pinned.Raw)) {
				t.Errorf("own %v, want %v, pinned right: %v", own, tt.own, fingerprint == sha256.Sum256(tt.pinned.Raw))
			}
			state, err := handshake(t, s, "boot.example.org", root.PEM())
			if err != nil || len(state.PeerCertificates) != tt.sent {
				t.Errorf("%d certificates were sent, error %v; want %d", len(state.PeerCertificates), err, tt.sent)
			}
		})
	}
}

func TestOperatorsFilesChange(t *testing.T) {
	dir, w := t.TempDir(), newWorld()
	op := operator{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	root, err := newRoot()
	if err != nil {
		t.Fatal(err)
	}
	issue := func(now time.Time) *x509.Certificate {
		key, err := rsa.GenerateKey(rand.Reader, keyBits)
		if err != nil {
			t.Fatal(err)
		}
		c, err := sign(serverTemplate(parseNames(w.names), now), root.cert, key, root.key)
		if err != nil {
			t.Fatal(err)
		}
		op.write(t, key, c, root.cert)
		return c
	}
	o := w.options(dir)
	o.CertFile, o.KeyFile = op.certFile, op.keyFile
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "http.tls-cert") {
		t.Errorf("files that are not there: %v", err)
	}
	first := issue(today)
	s := openServer(t, o)
	if !leaf(t, s).Equal(first) {
		t.Error("not the certificate of the file")
	}
	second := issue(today.AddDate(0, 1, 0))
	if !leaf(t, s).Equal(second) {
		t.Error("the new certificate was not taken")
	}
	if err := os.WriteFile(op.keyFile, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(); err == nil {
		t.Error("damaged files are accepted")
	}
	if c, err := s.GetCertificate(nil); err != nil || !c.Leaf.Equal(second) {
		t.Errorf("the certificate went with its file: %v", err)
	}
}

// TestRootsChange: a root that was restored, or an operator's certificate under
// another one, or a leaf that is all there is, is what is trusted from then on.
func TestRootsChange(t *testing.T) {
	w, dir := newWorld(), t.TempDir()
	s := openServer(t, w.options(dir))
	leaf(t, s)
	root, err := newRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := encode(root.key, root.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, rootFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if leaf(t, s).CheckSignatureFrom(root.cert) != nil {
		t.Error("the certificate is not of the root that was restored")
	}
	if fingerprint, own := s.Trust(); fingerprint != root.Fingerprint() || !own || !bytes.Equal(s.RootPEM(), root.PEM()) {
		t.Error("the root that was restored is not trusted")
	}
	if !strings.Contains(w.log.String(), "root of the server certificate changed") {
		t.Errorf("nobody is told: %s", &w.log)
	}
	if err := os.Remove(filepath.Join(dir, rootFile)); err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(); err == nil || leafOf(t, s).CheckSignatureFrom(root.cert) != nil {
		t.Errorf("the root's file is gone: %v, and the certificate with it", err)
	}

	op := operator{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	o := w.options(dir)
	o.CertFile, o.KeyFile = op.certFile, op.keyFile
	var server *Server
	for range 2 { // no root in the file, nor among the host's: the leaf is pinned
		key, err := rsa.GenerateKey(rand.Reader, keyBits)
		if err != nil {
			t.Fatal(err)
		}
		c, err := sign(serverTemplate(parseNames(w.names), today), root.cert, key, root.key)
		if err != nil {
			t.Fatal(err)
		}
		op.write(t, key, c)
		if server == nil {
			server = openServer(t, o)
		} else if err := server.Renew(); err != nil {
			t.Fatal(err)
		}
		if fingerprint, own := server.Trust(); !own || fingerprint != sha256.Sum256(c.Raw) {
			t.Error("the leaf of the file is not trusted")
		}
	}
}

// leafOf is the certificate that clients get now.
func leafOf(t *testing.T, s *Server) *x509.Certificate {
	t.Helper()
	c, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

// slowSource takes its time.
type slowSource struct{ asked, answer chan struct{} }

func (slowSource) files() []string { return nil }

func (s slowSource) identity(time.Time) (identity, error) {
	s.asked <- struct{}{}
	<-s.answer
	return identity{}, errors.New("too late")
}

// TestHandshakesDoNotWait: what clients get is at hand, however long a renewal takes.
func TestHandshakesDoNotWait(t *testing.T) {
	w := newWorld()
	s := openServer(t, w.options(t.TempDir()))
	want := leaf(t, s)
	slow := slowSource{make(chan struct{}), make(chan struct{})}
	s.source = slow
	done := make(chan error)
	go func() { done <- s.Renew() }()
	<-slow.asked
	if got := leafOf(t, s); !got.Equal(want) {
		t.Error("another certificate")
	}
	if _, own := s.Trust(); !own || s.RootPEM() == nil {
		t.Error("no root")
	}
	close(slow.answer)
	if err := <-done; err == nil || !leafOf(t, s).Equal(want) {
		t.Errorf("a renewal that failed: %v", err)
	}
}

func TestWeaknesses(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: "x"}, NotBefore: today, NotAfter: today.Add(day)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	const ec = "its key is ECDSA, and nodes accept only RSA: get an RSA certificate"
	for now, want := range map[time.Time][]string{
		today:               {ec},
		today.Add(2 * day):  {"it ended on 2026-11-24: renew it", ec},
		today.Add(-2 * day): {"it begins only on 2026-11-23: is the clock right?", ec},
	} {
		if d := cmp.Diff(want, weaknesses(c, now)); d != "" {
			t.Errorf("%v (-want +got):\n%s", now, d)
		}
	}
}

func TestParseNames(t *testing.T) {
	longest := strings.Repeat("a", 253)
	got := parseNames([]string{"b", "a", "b", "", "a b", "-x", "x-", "a.b.", longest, longest + "a", "::ffff:192.0.2.1", "192.0.2.1", "fd00::1%eth0"})
	want := names{dns: []string{"a", longest, "b"}, ips: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fd00::1")}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(names{}), cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func FuzzDecode(f *testing.F) {
	r, err := newRoot()
	if err != nil {
		f.Fatal(err)
	}
	text, err := encode(r.key, r.cert.Raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(r.PEM())
	f.Fuzz(func(t *testing.T, text []byte) {
		key, certs, err := decode(text)
		if err == nil && (key == nil || len(certs) == 0) {
			t.Error("accepted without a key or a certificate")
		}
	})
}

func BenchmarkOpenAgain(b *testing.B) {
	dir, w := b.TempDir(), newWorld()
	for b.Loop() {
		s, err := Open(w.options(dir))
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Renew(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	if weak, err := Inspect(filepath.Join(dir, "absent"), "", "", today); weak != nil || err != nil {
		t.Errorf("nothing there yet: %v, %v", weak, err)
	}
	if err := os.WriteFile(filepath.Join(dir, rootFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(dir, "", "", today); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("damaged root: %v", err)
	}
	if _, err := Inspect(dir, "/absent.pem", "/absent.key", today); err == nil {
		t.Error("absent files: no error")
	}
	root, err := newRoot()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := sign(serverTemplate(parseNames(newWorld().names), today), root.cert, root.key, root.key)
	if err != nil {
		t.Fatal(err)
	}
	op := operator{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	op.write(t, root.key, cert, root.cert)
	for now, want := range map[time.Time]int{today: 0, cert.NotAfter.Add(-13 * day): 1, cert.NotAfter.Add(day): 1} {
		if weak, err := Inspect(dir, op.certFile, op.keyFile, now); len(weak) != want || err != nil {
			t.Errorf("at %v: %q, %v", now, weak, err)
		}
	}
	for host, covered := range map[string]bool{"": true, "boot.example.org": true, "192.0.2.1": true, "::1": true, "other.example.org": false, "192.0.2.9": false} {
		if why := NotFor(host, op.certFile, op.keyFile); (why == "") != covered || !covered && !strings.Contains(why, "it is for boot.example.org, ") {
			t.Errorf("by %s: %q", host, why)
		}
	}
	if why := NotFor("other.example.org", "", ""); why != "" {
		t.Errorf("without a certificate of the operator's: %q", why)
	}
}
