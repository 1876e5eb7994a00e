package setup

import (
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	"farmboot/setup/ca"
)

func TestServerNames(t *testing.T) {
	c := Default()
	c.BaseHost = &url.URL{Scheme: "https", Host: "boot.example.org:8443"}
	names := c.ServerNames()
	if !slices.Contains(names.DNS, "boot.example.org") || !slices.Contains(names.DNS, "localhost") {
		t.Errorf("names %q", names.DNS)
	}
	c.BaseHost = &url.URL{Scheme: "https", Host: "192.0.2.77"}
	names = c.ServerNames()
	for _, ip := range []string{"127.0.0.1", "::1", "192.0.2.77"} {
		if !slices.Contains(names.IPs, netip.MustParseAddr(ip)) {
			t.Errorf("addresses %v lack %s", names.IPs, ip)
		}
	}
}

func TestCertificates(t *testing.T) {
	c := Default()
	c.State = t.TempDir()
	s, err := c.Certificates(ca.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := s.GetCertificate(nil)
	if err != nil || cert.Leaf.VerifyHostname("localhost") != nil {
		t.Errorf("certificate %v, error %v", cert, err)
	}
	c.HTTP.TLSCert, c.HTTP.TLSKey = "/absent.pem", "/absent.key"
	if _, err := c.Certificates(ca.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("files that are not there are accepted")
	}
}
