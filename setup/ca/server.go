package ca

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"sync"
	"time"
)

// interval is how often a [Server] looks whether its certificate is still right.
const interval = time.Minute

// Options say where a [Server] has its certificate from.
type Options struct {
	Dir string // folder of our own root and certificate

	CertFile, KeyFile string // an operator's PEM files; "": our own

	Names func() []string // host names and addresses that the server is reached by now; for our own certificate
	Now   func() time.Time
	Log   *slog.Logger
}

// Server is the identity of an HTTPS server. Its methods may be called from any
// goroutine.
type Server struct {
	source source
	now    func() time.Time
	log    *slog.Logger

	check chan struct{}

	mu   sync.Mutex
	cert *tls.Certificate
}

// source makes or reads certificates.
type source interface {
	certificate(now time.Time) (*tls.Certificate, error)
	trust() trust
}

// trust is the root of a certificate, and whether images need to be told of it.
type trust struct {
	fingerprint [sha256.Size]byte
	own         bool
	pem         []byte
}

// Open prepares a server's identity. An operator's files must be good now; of our
// own, only the root is made here, for images are made with it, and the server's
// certificate when it is first asked for.
func Open(o Options) (*Server, error) {
	if o.CertFile != "" {
		return open(&files{certFile: o.CertFile, keyFile: o.KeyFile, public: hostRoots(localRoots...)}, o)
	}
	root, err := OpenRoot(o.Dir)
	if err != nil {
		return nil, err
	}
	return &Server{source: &own{dir: filepath.Clean(o.Dir), root: root, names: o.Names}, now: o.Now, log: o.Log, check: make(chan struct{}, 1)}, nil
}

// open is Open for files.
func open(f *files, o Options) (*Server, error) {
	s := &Server{source: f, now: o.Now, log: o.Log, check: make(chan struct{}, 1)}
	_, err := s.refresh()
	return s, err
}

// GetCertificate is for [tls.Config].
func (s *Server) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	cert := s.cert
	s.mu.Unlock()
	if cert != nil {
		return cert, nil
	}
	return s.refresh()
}

// refresh takes the certificate that is right now.
func (s *Server) refresh() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cert, err := s.source.certificate(s.now())
	if err != nil {
		return nil, err
	}
	if s.cert == nil || !s.cert.Leaf.Equal(cert.Leaf) {
		s.log.Info("server certificate", "names", cert.Leaf.DNSNames, "addresses", cert.Leaf.IPAddresses, "until", cert.Leaf.NotAfter)
		for _, why := range weaknesses(cert.Leaf, s.now()) {
			s.log.Warn("clients will refuse the server certificate", "why", why)
		}
	}
	s.cert = cert
	return cert, nil
}

// Check has Run look at once whether the certificate is still right.
func (s *Server) Check() {
	select {
	case s.check <- struct{}{}:
	default:
	}
}

// Run keeps the certificate right until ctx ends: it is renewed in time, and when
// the server's names or the operator's files change. On an error the certificate
// stays as it is. Run returns nil.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	said := ""
	for {
		_, err := s.refresh()
		switch {
		case err == nil:
			said = ""
		case err.Error() != said: // not every minute
			said = err.Error()
			s.log.Error("server certificate not renewed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.check:
		}
	}
}

// Trust says what images are to trust to reach this server by HTTPS. own: the root
// with that fingerprint, in place of iPXE's. Not own: the server's certificate ends
// in a public root, which iPXE's own trust leads to, so images keep that.
func (s *Server) Trust() (fingerprint [sha256.Size]byte, own bool) {
	t := s.source.trust()
	return t.fingerprint, t.own
}

// RootPEM returns the certificate at the end of the server's chain, in PEM, for
// browsers and own builds of iPXE.
func (s *Server) RootPEM() []byte { return s.source.trust().pem }

// Config returns a TLS configuration that serves this identity.
func (s *Server) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.GetCertificate}
}
