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
	"farmboot/setup/lan"
)

// sources is what boot programs and images are composed of. The daemon and the
// command line have the same, and so make the same bytes.
type sources struct {
	cfg       setup.Config
	view      func() *lan.View // of the network
	authority *ca.Server
	kernels   *kernel.Store
	template  *binary.Template
	catalog   *catalog.Catalog
}

// openSources reads them as the configuration says; the network tells our URLs.
func openSources(cfg setup.Config, network func() *lan.View, log *slog.Logger, now func() time.Time) (*sources, error) {
	s := &sources{cfg: cfg, view: network}
	var err error
	if _, err := os.Stat(cfg.IPXE.Template); err != nil {
		return nil, fmt.Errorf("no iPXE template folder %s: make it with setup/template.sh %[1]s, or name another in [ipxe] template", cfg.IPXE.Template)
	}
	if err := owner.MkdirAll(cfg.State, 0o750); err != nil {
		return nil, fmt.Errorf("make the state folder: %s", err)
	}
	s.authority, err = ca.Open(ca.Options{
		Dir:      filepath.Join(cfg.State, "ca"),
		CertFile: cfg.HTTP.TLSCert, KeyFile: cfg.HTTP.TLSKey,
		Names: cfg.ServerNames, Now: now, Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.kernels = kernel.Open(cfg.Kernel.Path, cfg.Kernel.NetPath)
	s.template = binary.Load(cfg.IPXE.Template)
	if root, own := s.authority.Trust(); own {
		s.template = s.template.Trust(root)
	}
	s.catalog = &catalog.Catalog{Template: s.template, Kernels: s.kernels, Site: s.site, Autoexec: cfg.IPXE.Autoexec}
	return s, nil
}

// site is the appliance as those see it that reach it at that address of ours; the
// zero address stands for the first LAN. scheme is "http", "https", or "" for what
// the configuration says.
func (s *sources) site(local netip.Addr, scheme string) ipxe.Site {
	return ipxe.Site{Composer: s.cfg.Composer(), Base: baseURL(s.urls(local), scheme), NTP: s.cfg.Boot.NTP}
}

// urls are the URLs for those who reach us at that address of ours.
func (s *sources) urls(local netip.Addr) setup.URLs { return s.view().URLs(local) }
