package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/provisioning/installed"
	"farmboot/setup"
	"farmboot/setup/ca"
)

type serveCmd struct{}

// Help implements [kong.HelpProvider].
func (serveCmd) Help() string {
	return `Answers PXE firmware beside the LAN's own DHCP server (UDP 67 and 4011), hands out
iPXE by TFTP (UDP 69), and serves scripts, kernels and images (TCP 80 and 443).
Logs "ready" when every listener is open. Stops on SIGTERM and SIGINT.`
}

// Run opens every socket, says "ready", and serves until ctx ends.
func (serveCmd) Run(ctx context.Context, e *env, cfg setup.Config) error {
	level := new(slog.LevelVar)
	log := newLog(e, cfg, level)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	a, services, err := start(ctx, cfg, log, e.now)
	if err != nil && ctx.Err() != nil {
		log.Info("stopped while starting", "err", err)
		return nil // as it was asked to
	}
	if err != nil {
		return err
	}
	a.warnings(ctx)
	if missing := a.network.View().Missing; len(missing) > 0 {
		log.Warn("waiting for the network: some nodes, or all, cannot boot yet", "missing", strings.Join(missing, "; "), "serving", a.network.View())
	}
	// To wait for an interface is no failure to start: systemd is not to end us for it.
	notifySystemd("READY=1")
	r := &reloader{appliance: a, read: e.config, level: level}
	err = runAll(ctx, append(services, service{"stop", a.announceStop}, service{"reload", func(ctx context.Context) error { return r.run(ctx, hangup) }}))
	log.Info("stopped")
	return errors.Join(err, a.close())
}

// ready says that every listener is open that the configuration wants.
func (a *appliance) ready(ctx context.Context) {
	u := a.urls(netip.Addr{})
	a.log.Info("ready", "version", versionString(), "config", a.cfg.File, "state", a.cfg.State, "url", u.Base, "admin", u.Admin+"/admin")
	a.welcome(ctx)
}

// start wires the parts together and opens every socket.
func start(ctx context.Context, cfg setup.Config, log *slog.Logger, now func() time.Time) (*appliance, []service, error) {
	// Before anything is opened: a port in use says less of who has it.
	if err := alone(ctx, cfg); err != nil {
		return nil, nil, err
	}
	a, err := assemble(ctx, cfg, log, now)
	if err != nil {
		return nil, nil, err
	}
	services, err := a.listen(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, a.close())
	}
	return a, services, nil
}

// announceStop waits for the end of ctx, when the other services begin to stop, and
// says so: transfers under way may take them a while.
func (a *appliance) announceStop(ctx context.Context) error {
	<-ctx.Done()
	a.log.Info("stopping")
	notifySystemd("STOPPING=1")
	return nil
}

// welcome prints what an admin needs the first time: the fingerprint of our certificates,
// and a link to sign in with as long as there is no token. There is no default password.
func (a *appliance) welcome(ctx context.Context) {
	if root, own := a.authority.Trust(); own {
		a.log.Info("certificate authority: compare this with what your browser shows", "sha256", ca.Colons(root))
	}
	tokens, err := a.store.Tokens(ctx)
	if err != nil || len(tokens) > 0 {
		return // somebody can sign in already; a store that fails says so elsewhere
	}
	a.log.Info("nobody has a token yet: sign in with this link, once, within 24 hours", "link", a.urls(netip.Addr{}).Admin+a.links.New())
}

// newLog returns the log that the configuration asks for; level is its level from
// now on.
func newLog(e *env, cfg setup.Config, level *slog.LevelVar) *slog.Logger {
	level.Set(levelOf(cfg))
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(e.stderr, options))
	}
	return slog.New(slog.NewTextHandler(e.stderr, options))
}

func levelOf(cfg setup.Config) slog.Level {
	if cfg.Debug {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// service is something that runs until its context ends, and returns nil then.
type service struct {
	name string
	run  func(context.Context) error
}

// runAll runs services until ctx ends or one of them fails, which ends all others.
func runAll(ctx context.Context, services []service) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range services {
		g.Go(func() error {
			if err := s.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// notifySystemd tells systemd what we are about (sd_notify(3)); without systemd it
// does nothing.
func notifySystemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:]
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}

// warnings logs what keeps some nodes from booting, though the rest works.
func (a *appliance) warnings(ctx context.Context) {
	if s, ok := a.store.(interface{ ReadOnly() error }); ok && s.ReadOnly() != nil {
		a.log.Warn("nodes boot, but nothing can be changed or recorded until the database can be written and we are started anew", "err", s.ReadOnly())
	}
	if a.insecure != nil {
		a.log.Warn("Secure Boot is switched on, but cannot be: x64 UEFI nodes get the plain chain", "err", a.insecure,
			"mend", installed.TemplateScript+" "+a.cfg.IPXE.Template+", or --from a folder that has shimx64.efi and mmx64.efi, then start anew")
	}
	if err := checkSecret(a.cfg); err != nil {
		a.log.Warn("sign-in with the OpenID provider does not work; tokens do", "err", err)
	}
	if a.upstream == nil {
		a.warnOfKernels()
	}
	a.warnOfRunModes(ctx)
}

// warnOfRunModes logs which run modes nodes are registered with that the configuration does not
// have.
func (a *appliance) warnOfRunModes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	list, err := a.registry.Unconfigured(ctx, operator())
	if err != nil {
		return // a store that fails says so elsewhere
	}
	for _, u := range list {
		why, mend := cause.Unconfigured(u)
		a.log.Warn("a run mode "+why, "runmode", u.RunMode, "nodes", u.Nodes, "mend", mend)
	}
}

// warnOfKernels logs which run modes have no kernel, and what keeps one from booting its kernel.
func (a *appliance) warnOfKernels() {
	var bare []string
	mend := "" // of the first of them
	for _, l := range a.kernels.Kernelless(a.cfg.RunModes) {
		hint := cause.Hint(provisioning.CauseOf(l.Err))
		if !l.Broken() {
			bare, mend = append(bare, string(l.RunMode)), cmp.Or(mend, hint)
			continue
		}
		nodes := "its nodes wait until it can"
		if _, err := a.kernels.Stat(kernel.DefaultOf(l.RunMode)); err == nil { // a boot script looks at no more than that
			nodes = "its nodes fetch it, and fail"
		}
		a.log.Warn("the kernel of a run mode cannot be booted: "+nodes, "runmode", l.RunMode, "why", l.Why(), "mend", hint)
	}
	if len(bare) > 0 {
		a.log.Warn("some run modes have no kernel: their nodes wait until there is one", "runmodes", strings.Join(bare, " "), "mend", mend)
	}
}

// firstTemplateCheck checks the template once we serve: "ready" does not wait for the
// processor's time that it takes.
func (a *appliance) firstTemplateCheck(ctx context.Context) error {
	select {
	case <-a.endpoints.begun:
		a.checkTemplate()
	case <-ctx.Done():
	}
	return nil
}

// checkTemplate puts every boot file through what requests may need of it, in the
// background: a broken one is reported, the rest works.
func (a *appliance) checkTemplate() {
	problems := a.template().Problems()
	a.broken.Store(&problems)
	for file, err := range problems {
		a.log.Warn("boot file cannot be used", "file", file, "err", err)
	}
	// The check unpacked some 10 MB that are not needed any more, and an idle
	// appliance would not come to collect them for minutes.
	debug.FreeOSMemory()
}
