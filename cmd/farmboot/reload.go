package main

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"farmboot/http/api"
	"farmboot/provisioning"
	"farmboot/setup"
)

// reloader reads the configuration again when it is asked to.
type reloader struct {
	*appliance
	read  func() (setup.Config, error)
	level *slog.LevelVar
}

// run waits for signals until ctx ends, and returns nil then.
func (r *reloader) run(ctx context.Context, hangup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			r.reload(ctx)
		}
	}
}

// refuse says why nothing is taken of the file.
func (r *reloader) refuse(why error) {
	r.reread.Store(&api.Reread{Refused: oneLine(why)})
	r.log.Error("configuration not taken, going on with that of before", "err", provisioning.Detail(why))
}

// reload takes what can change without a restart, and says what needs one. Of a file
// with mistakes it takes nothing.
func (r *reloader) reload(ctx context.Context) {
	next, err := r.read()
	if err != nil {
		r.refuse(err)
		return
	}
	running := *r.live.Load()
	cfg, taken, restart := setup.Reload(r.cfg, running, next)
	// A restart would end with what keeps the daemon from starting.
	if _, _, err := checkFiles(next, theDaemon, r.now()); err != nil {
		r.refuse(err)
		return
	}
	// The folder is read even if its name is the same: its files may be others.
	if err := r.loadTemplate(cfg.IPXE.Template); err != nil {
		r.refuse(err)
		return
	}
	r.live.Store(&cfg)
	r.reread.Store(&api.Reread{NeedsRestart: restart, RereadDigest: next.Digest()})
	r.level.Set(levelOf(cfg))
	r.assigner.SetUnknown(unknownOf(cfg))
	r.registry.SetRules(rulesOf(cfg, cfg.Composer(), r.kernels))
	r.network.Configure(cfg)
	r.authority.Check()
	r.checkTemplate()
	level := slog.LevelInfo
	if len(restart) > 0 { // until then commands and the daemon go by different values
		level = slog.LevelWarn
	}
	r.log.Log(ctx, level, "configuration read again", "config", cfg.File, "changed", strings.Join(taken, " "), "needs_restart", strings.Join(restart, " "))
	r.warnOfRunModes(ctx)
}
