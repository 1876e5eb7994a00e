package lan

import (
	"errors"
	"net/netip"
	"testing"

	"farmboot/setup"
)

// lanOf is an interface with addresses.
func lanOf(name string, index int, prefixes ...string) setup.Interface {
	i := setup.Interface{Name: name, Index: index, Up: true}
	for _, p := range prefixes {
		i.Prefixes = append(i.Prefixes, netip.MustParsePrefix(p))
	}
	return i
}

func TestURLs(t *testing.T) {
	two := newView(setup.Default(), []setup.Interface{lanOf("eth0", 2, "10.77.0.2/16", "192.168.99.2/24"), lanOf("eth1", 3, "198.51.100.1/24")}, nil)
	none := newView(setup.Default(), nil, nil)
	for _, tt := range []struct {
		view  *View
		local string
		want  string
	}{
		{two, "10.77.0.2", "http://10.77.0.2"},
		{two, "192.168.99.2", "http://192.168.99.2"},
		{two, "198.51.100.1", "http://198.51.100.1"},
		{two, "127.0.0.1", "http://10.77.0.2"},
		{two, "", "http://10.77.0.2"},
		{none, "192.0.2.1", "http://192.0.2.1"},
		{none, "", "http://127.0.0.1"},
	} {
		var local netip.Addr
		if tt.local != "" {
			local = netip.MustParseAddr(tt.local)
		}
		if got := tt.view.URLs(local).Base; got != tt.want {
			t.Errorf("who reaches us at %q is told %s, want %s", tt.local, got, tt.want)
		}
	}
}

func TestNear(t *testing.T) {
	v := newView(setup.Default(), []setup.Interface{lanOf("eth0", 2, "10.77.0.2/16", "192.168.99.2/24")}, nil)
	for addr, want := range map[string]bool{
		"10.77.200.1": true, "192.168.99.7": true, "127.0.0.1": true, "::1": true, "fe80::1": true,
		"192.168.98.7": false, "203.0.113.5": false, "2001:db8::1": false,
	} {
		if got := v.Near(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is near: %v, want %v", addr, got, want)
		}
	}
}

func TestEqual(t *testing.T) {
	view := func(missing string, lans ...setup.Interface) *View {
		var errs []error
		if missing != "" {
			errs = append(errs, errors.New(missing))
		}
		return newView(setup.Default(), lans, errs)
	}
	base := view("", lanOf("eth0", 2, "10.77.0.2/16"))
	for what, v := range map[string]*View{
		"another address": view("", lanOf("eth0", 2, "10.77.0.9/16")),
		"another network": view("", lanOf("eth0", 2, "10.77.0.2/24")),
		"made anew":       view("", lanOf("eth0", 3, "10.77.0.2/16")),
		"one more":        view("", lanOf("eth0", 2, "10.77.0.2/16"), lanOf("eth1", 3, "192.0.2.1/24")),
		"none":            view(""),
		"one missing":     view("there is no eth1", lanOf("eth0", 2, "10.77.0.2/16")),
	} {
		if base.Equal(v) || v.Equal(base) {
			t.Errorf("%s: no change", what)
		}
	}
	if !base.Equal(view("", lanOf("eth0", 2, "10.77.0.2/16"))) {
		t.Error("the same is a change")
	}
}
