package ca

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"farmboot/provisioning/logonce"
)

// interval is how often a [Server] looks whether its certificate is still right, and
// filesInterval how often it looks whether the files changed that it is made from.
const (
	interval      = time.Minute
	filesInterval = 2 * time.Second
)

// Options say where a [Server] has its certificate from.
type Options struct {
	Dir string // folder of our own root and certificate

	CertFile, KeyFile string // an operator's PEM files; "": our own

	Names func() []string // host names and addresses that the server is reached by now; for our own certificate
	Now   func() time.Time
	Log   *slog.Logger
}

// Server is the identity of an HTTPS server. Its methods may be called from any
// goroutine. Those that a handshake or a request calls wait for no file and no lock.
type Server struct {
	source source
	now    func() time.Time
	log    *slog.Logger

	check   chan struct{}
	current atomic.Pointer[identity]

	renewing sync.Mutex
}

// identity is a certificate, nil as long as there is none, and what leads to it.
type identity struct {
	cert  *tls.Certificate
	trust trust
}

// source makes or reads certificates.
type source interface {
	// identity returns what is right now. With an error there may be an identity all
	// the same, to be used without being stored.
	identity(now time.Time) (identity, error)
	// files are what it is made from.
	files() []string
}

// trust is the root of a certificate, and whether images need to be told of it.
type trust struct {
	fingerprint [sha256.Size]byte
	own         bool
	pem         []byte
}

// Open prepares a server's identity. An operator's files must be good now; of our
// own, only the root is made here, for images are made with it. The certificate
// itself is made by [Server.Renew].
func Open(o Options) (*Server, error) {
	if o.CertFile != "" {
		return open(&files{certFile: o.CertFile, keyFile: o.KeyFile, public: hostRoots(localRoots...)}, o)
	}
	root, err := OpenRoot(o.Dir)
	if err != nil {
		return nil, err
	}
	s := newServer(&own{dir: filepath.Clean(o.Dir), root: root, names: o.Names}, o)
	s.current.Store(&identity{trust: root.trust()})
	return s, nil
}

// open is Open for files.
func open(f *files, o Options) (*Server, error) {
	s := newServer(f, o)
	return s, s.Renew()
}

func newServer(from source, o Options) *Server {
	return &Server{source: from, now: o.Now, log: o.Log, check: make(chan struct{}, 1)}
}

// errNoCertificate is what a client is told before [Server.Renew] has succeeded.
var errNoCertificate = errors.New("there is no server certificate yet")

// GetCertificate is for [tls.Config].
func (s *Server) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := s.current.Load().cert; cert != nil {
		return cert, nil
	}
	return nil, errNoCertificate
}

// Renew takes the certificate, and the root, that are right now. On an error those of
// before stay.
func (s *Server) Renew() error {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	next, err := s.source.identity(s.now())
	if next.cert == nil {
		return err
	}
	old := s.current.Swap(&next)
	if old != nil && old.trust.fingerprint != next.trust.fingerprint {
		s.log.Warn("the root of the server certificate changed: boot programs and images trust the new one from now on, images that were downloaded before do not",
			"sha256", Colons(next.trust.fingerprint), "own", next.trust.own)
	}
	if old == nil || old.cert == nil || !old.cert.Leaf.Equal(next.cert.Leaf) {
		leaf := next.cert.Leaf
		s.log.Info("server certificate", "names", leaf.DNSNames, "addresses", leaf.IPAddresses, "until", leaf.NotAfter)
		for _, why := range weaknesses(leaf, s.now()) {
			s.log.Warn("clients will refuse the server certificate", "why", why)
		}
	}
	return err
}

// Check has Run look at once whether the certificate is still right.
func (s *Server) Check() {
	select {
	case s.check <- struct{}{}:
	default:
	}
}

// Run keeps the certificate right until ctx ends: it is renewed in time, and when
// the server's names or the files change. On an error the certificate stays as it
// is. Run returns nil.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(filesInterval)
	defer tick.Stop()
	renewing := logonce.Series{Log: s.log, Level: slog.LevelError, Fault: "server certificate not renewed", End: "the server certificate is right again"}
	seen, last := "", time.Time{}
	for asked := true; ; {
		if now, files := s.now(), stamps(s.source.files()); asked || files != seen || now.Sub(last).Abs() >= interval {
			seen, last = files, now
			renewing.Report(s.Renew())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			asked = false
		case <-s.check:
			asked = true
		}
	}
}

// stamps returns what differs when one of the files was written or replaced.
func stamps(names []string) string {
	var all strings.Builder
	for _, name := range names {
		if fi, err := os.Stat(name); err == nil {
			fmt.Fprintln(&all, fi.ModTime(), fi.Size(), fi.Sys().(*syscall.Stat_t).Ino)
		} else {
			fmt.Fprintln(&all, err)
		}
	}
	return all.String()
}

// Trust says what images are to trust to reach this server by HTTPS. own: the root
// with that fingerprint, in place of iPXE's. Not own: the server's certificate ends
// in a public root, which iPXE's own trust leads to, so images keep that.
func (s *Server) Trust() (fingerprint [sha256.Size]byte, own bool) {
	t := s.current.Load().trust
	return t.fingerprint, t.own
}

// RootPEM returns the certificate at the end of the server's chain, in PEM, for
// browsers and own builds of iPXE.
func (s *Server) RootPEM() []byte { return s.current.Load().trust.pem }

// Config returns a TLS configuration that serves this identity.
func (s *Server) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.GetCertificate}
}
