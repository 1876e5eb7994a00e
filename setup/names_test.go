package setup

import (
	"net/url"
	"slices"
	"testing"
)

func TestServerNames(t *testing.T) {
	c := Default()
	for _, host := range []string{"boot.example.org", "192.0.2.77", "[2001:db8::1]"} {
		c.BaseHost = &url.URL{Scheme: "https", Host: host + ":8443"}
		names := c.ServerNames()
		for _, want := range []string{c.BaseHost.Hostname(), "localhost", "127.0.0.1", "::1"} {
			if !slices.Contains(names, want) {
				t.Errorf("base-host %s: names %q lack %s", host, names, want)
			}
		}
	}
}
