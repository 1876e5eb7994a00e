package main

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"farmboot/ipxe"
	"farmboot/ipxe/binary"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning/installed"
	"farmboot/provisioning/owner"
	"farmboot/setup"
	"farmboot/setup/ca"
	"farmboot/setup/lan"
)

// sources is what boot programs and images are composed of. The daemon and the
// command line have the same, and so make the same bytes.
type sources struct {
	cfg       setup.Config                 // as it was at the start
	live      atomic.Pointer[setup.Config] // as it is now: see [setup.Reload]
	view      func() *lan.View             // of the network
	authority *ca.Server
	kernels   *kernel.Store
	binaries  atomic.Pointer[binary.Template] // as they are in the template folder
	trusting  atomic.Pointer[trusting]
	catalog   *catalog.Catalog
	scripts   *ipxe.Scripts
	secure    *secureBoot // nil: off, or not possible
	insecure  error       // why it is not possible, though it is switched on
}

// trusting is the binaries of a template folder, made to trust a root.
type trusting struct {
	binaries *binary.Template // as they are in the folder
	root     [sha256.Size]byte
	own      bool // else they trust what iPXE trusts
	template *binary.Template
}

// openSources reads them as the configuration says; the network tells our URLs.
func openSources(cfg setup.Config, network func() *lan.View, log *slog.Logger, now func() time.Time) (*sources, error) {
	s := &sources{cfg: cfg, view: network, scripts: ipxe.NewScripts()}
	s.live.Store(&cfg)
	if err := s.loadTemplate(cfg.IPXE.Template); err != nil {
		return nil, err
	}
	if err := owner.MkdirAll(cfg.State, 0o750); err != nil {
		return nil, fmt.Errorf("make the state folder: %s", err)
	}
	var err error
	s.authority, err = ca.Open(ca.Options{
		Dir:      filepath.Join(cfg.State, "ca"),
		CertFile: cfg.HTTP.TLSCert, KeyFile: cfg.HTTP.TLSKey,
		Names: func() []string { return s.live.Load().ServerNames() }, Now: now, Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.kernels = kernel.Open(cfg.Kernel.Path, cfg.Kernel.NetPath)
	if cfg.SecureBoot.Enabled {
		s.secure, s.insecure = openSecureBoot(cfg, s.template, s.kernels, log, now)
	}
	s.catalog = &catalog.Catalog{Template: s.template, Kernels: s.kernels, Site: s.site, Chain: s.secure.chain, Autoexec: cfg.IPXE.Autoexec}
	return s, nil
}

// findTemplate says what to do where there is no template folder.
func findTemplate(folder string) error {
	if _, err := os.Stat(folder); err != nil {
		return fmt.Errorf("no iPXE template folder %s: make it with %[2]s %[1]s, or name another in [ipxe] template", folder, installed.TemplateScript)
	}
	return nil
}

// loadTemplate reads iPXE's binaries from that folder. It does not give up binaries that boot
// nodes for some that boot none; health tells of what is missing.
func (s *sources) loadTemplate(folder string) error {
	if err := findTemplate(folder); err != nil {
		return err
	}
	next := binary.Load(folder)
	if former := s.binaries.Load(); former != nil && former.Boots() && !next.Boots() {
		return fmt.Errorf("no network boot program that can be used is in the iPXE template folder %s: make it with %[2]s %[1]s, or name another in [ipxe] template", folder, installed.TemplateScript)
	}
	s.binaries.Store(next)
	return nil
}

// template returns iPXE's binaries, which trust the root of our server's certificate:
// both may change.
func (s *sources) template() *binary.Template {
	binaries := s.binaries.Load()
	root, own := s.authority.Trust()
	if t := s.trusting.Load(); t != nil && t.binaries == binaries && t.root == root && t.own == own {
		return t.template
	}
	t := &trusting{binaries: binaries, root: root, own: own, template: binaries}
	if own {
		t.template = binaries.Trust(root)
	}
	s.trusting.Store(t)
	return t.template
}

// composer writes the kernel command lines.
func (s *sources) composer() ipxe.Composer { return s.live.Load().Composer() }

// site is the appliance as those see it that reach it at that address of ours; the
// zero address stands for the first LAN. scheme is "http", "https", or "" for what
// the configuration says.
func (s *sources) site(local netip.Addr, scheme string) ipxe.Site {
	urls := s.urls(local)
	return ipxe.Site{Composer: s.composer(), Base: baseURL(urls, scheme), Literal: urls.Literal, NTP: s.live.Load().Boot.NTP, Scripts: s.scripts}
}

// urls are the URLs for those who reach us at that address of ours.
func (s *sources) urls(local netip.Addr) setup.URLs { return s.view().URLs(local) }
