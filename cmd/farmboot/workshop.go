package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"farmboot/ipxe"
	"farmboot/ipxe/binary"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning/owner"
	"farmboot/setup"
	"farmboot/setup/ca"
)

// workshop is what boot programs and images are composed with. The daemon and the
// command line have the same one, and so make the same bytes.
type workshop struct {
	cfg       setup.Config
	lans      []lan // at least one
	authority *ca.Server
	kernels   *kernel.Store
	template  *binary.Template
	catalog   *catalog.Catalog
}

// lan is one LAN that we serve.
type lan struct {
	setup.Interface
	urls setup.URLs
}

// openWorkshop reads what there is to work with.
func openWorkshop(cfg setup.Config, log *slog.Logger, now func() time.Time) (*workshop, error) {
	w := &workshop{cfg: cfg}
	ifaces, err := cfg.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range ifaces {
		w.lans = append(w.lans, lan{i, cfg.URLs(i)})
	}
	if _, err := os.Stat(cfg.IPXE.Template); err != nil {
		return nil, fmt.Errorf("no iPXE template folder %s: make it with setup/template.sh %[1]s, or name another in [ipxe] template", cfg.IPXE.Template)
	}
	if err := owner.MkdirAll(cfg.State, 0o750); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	w.authority, err = ca.Open(ca.Options{
		Dir:      filepath.Join(cfg.State, "ca"),
		CertFile: cfg.HTTP.TLSCert, KeyFile: cfg.HTTP.TLSKey,
		Names: cfg.ServerNames, Now: now, Log: log,
	})
	if err != nil {
		return nil, err
	}
	w.kernels = kernel.Open(cfg.Kernel.Path, cfg.Kernel.NetPath)
	w.template = binary.Load(cfg.IPXE.Template)
	if root, own := w.authority.Trust(); own {
		w.template = w.template.Trust(root)
	}
	w.catalog = &catalog.Catalog{Template: w.template, Kernels: w.kernels, Site: w.site, Autoexec: cfg.IPXE.Autoexec}
	return w, nil
}

// site is the appliance as those see it that reach it at that address of ours; the
// zero address stands for the first LAN. scheme is "http", "https", or "" for what
// the configuration says.
func (w *workshop) site(local netip.Addr, scheme string) ipxe.Site {
	return ipxe.Site{Composer: w.cfg.Composer(), Base: baseURL(w.urls(local), scheme), NTP: w.cfg.Boot.NTP}
}

// urls are the URLs of the LAN where we have that address, else of the first one.
func (w *workshop) urls(local netip.Addr) setup.URLs {
	for _, l := range w.lans {
		if l.Addr() == local {
			return l.urls
		}
	}
	return w.lans[0].urls
}
