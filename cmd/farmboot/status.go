package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"farmboot/http/api"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/provisioning/human"
	"farmboot/setup"
)

type statusCmd struct {
	JSON bool `help:"As JSON."`
}

// Help implements [kong.HelpProvider].
func (statusCmd) Help() string {
	return `Says whether the daemon runs, where it listens, and what does not work and why.
What would stop a node on this host and LAN besides: farmboot doctor. Exits 1 if the
daemon does not run.

Examples:

  farmboot status
  farmboot status --json`
}

// daemonStatus is what "status --json" prints.
type daemonStatus struct {
	Running bool   `json:"running"`
	Why     string `json:"why,omitempty"` // why not
	Socket  string `json:"socket"`
	api.Status
	ConfigMistake string `json:"config_mistake,omitempty"` // in the file: the daemon would not start with it
	ConfigDiffers bool   `json:"config_differs"`           // the daemon runs with another configuration than is in the file
	difference    string // how
}

// Run asks the daemon by its socket. Of a configuration with mistakes it takes what could be
// read, for a daemon that read it before them goes on; where they leave in doubt whose socket is
// meant, none is asked.
func (c statusCmd) Run(ctx context.Context, e *env) error {
	cfg, wrong := e.config()
	if wrong != nil && (!isMistake(wrong) || cfg.StateInDoubt) {
		return wrong
	}
	s := daemonStatus{Socket: cfg.Socket()}
	s.Version = versionString()
	var mistake error // as text: what is joined with [setup.Mistakes] is not printed
	if wrong != nil {
		s.ConfigMistake = oneLine(wrong)
		mistake = errors.New(s.ConfigMistake)
	}
	status, err := askDaemon(ctx, cfg)
	switch {
	case err == nil:
		s.Running, s.Status = true, status
		if wrong == nil && differs(cfg, status) {
			s.ConfigMistake = e.fileFault(cfg)
			s.ConfigDiffers, s.difference = s.ConfigMistake == "", difference(cfg, status)
		}
	case notRunning(err):
		s.Why, err = fmt.Sprintf("no daemon listens on %s", cfg.Socket()), nil
	default:
		return errors.Join(mistake, err)
	}
	if c.JSON {
		err = printJSON(e.stdout, s)
	} else if s.Running {
		err = s.print(e)
	}
	if err == nil && !s.Running {
		if fault := e.fileFault(cfg); mistake == nil && fault != "" {
			mistake = errors.New(fault)
		}
		err = errors.Join(mistake, fmt.Errorf("the daemon does not run: %s", s.Why))
	}
	return err
}

// fileFault says which of the files that a configuration names keeps the daemon from starting;
// "": none does, as far as we may read them.
func (e *env) fileFault(cfg setup.Config) string {
	_, _, err := checkFiles(cfg, aCommand, e.now())
	if err == nil {
		return ""
	}
	return oneLine(err)
}

// isMistake tells whether that error of [env.config] is of what stands in the file.
func isMistake(err error) bool {
	_, several := errors.AsType[setup.Mistakes](err)
	_, first := errors.AsType[setup.Mistake](err)
	return several || first
}

func (s daemonStatus) print(e *env) error {
	t := newTable(e.stdout, fmt.Sprintf("farmboot %s runs", printable(s.Version)))
	row := func(format string, cells ...any) {
		for i, c := range cells {
			if text, ok := c.(string); ok {
				cells[i] = printable(text)
			}
		}
		t.row(format, cells...)
	}
	if s.Health != nil {
		row("configuration\t%s", s.Config.File)
		for _, l := range s.Listeners {
			row("%s\t%s\t%s", l.Service, l.Address, l.Interface)
		}
		if q := s.Queue; q != nil {
			row("queue\t%d wait for their kernels, the oldest for %s; %d are under way, at most %d at once, %s/s",
				q.Waiting, human.Duration(time.Duration(q.Seconds)*time.Second), q.Downloads, q.Limit, human.Bytes(q.Rate))
		}
		for _, p := range s.Problems {
			row("PROBLEM %s\t%s", p.What, p.Why)
		}
		if s.ConfigMistake != "" {
			row("WARNING configuration\t%s; the daemon runs with what it read before, and would not start with this", s.ConfigMistake)
		} else if s.ConfigDiffers {
			row("WARNING configuration\t%s", s.difference)
		} else if len(s.Problems) == 0 {
			row("the daemon works")
		}
	}
	for _, m := range s.RunModes {
		if !m.Kernel {
			row("run mode %s\t%s", m.RunMode, m.Missing)
		} else if m.Doubt != "" {
			row("run mode %s\t%s", m.RunMode, m.Doubt)
		}
		if m.Candidate != "" {
			row("run mode %s\ttries %s on some nodes (farmboot kernel history %[1]s)", m.RunMode, m.Candidate)
		}
		if m.Held != "" {
			row("run mode %s\tdoes not boot upstream's %s, because somebody gave it another kernel (farmboot kernel use %[1]s %[2]s)", m.RunMode, m.Held)
		}
	}
	for _, u := range s.Unconfigured {
		why, mend := cause.Unconfigured(u)
		row("run mode %s\t%s; %s", string(u.RunMode), why, mend)
	}
	return t.flush()
}

// daemonLimit is how long a command waits for the daemon.
const daemonLimit = 2 * time.Second

// askDaemon asks the daemon of that state folder; where there is none, the one that reads the same
// configuration file.
func askDaemon(ctx context.Context, cfg setup.Config) (api.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, daemonLimit)
	defer cancel()
	s, err := api.AskStatus(ctx, cfg.Socket(), nil)
	if err != nil && notRunning(err) {
		if other, ok := askElsewhere(ctx, cfg); ok {
			return other, nil
		}
	}
	return s, err
}

// elsewhereLimit is how long a command waits for daemons that may be another one's altogether.
const elsewhereLimit = 200 * time.Millisecond

// mayBeDaemon tells whether a socket of that name may be our daemon's: every user can make one.
// That of a unit with DynamicUser=yes is one of 61184 to 65519 (systemd.exec(5)).
func mayBeDaemon(uid uint32) bool {
	return uid == 0 || int64(uid) == int64(os.Geteuid()) || 61184 <= uid && uid <= 65519
}

// askElsewhere asks the daemon that reads the configuration file of cfg, and keeps its state in
// another folder: it was started before that key was changed.
func askElsewhere(ctx context.Context, cfg setup.Config) (api.Status, bool) {
	ctx, cancel := context.WithTimeout(ctx, elsewhereLimit)
	defer cancel()
	table, err := os.ReadFile("/proc/net/unix") // proc_pid_net(5): a line ends with the path
	if err != nil || cfg.File == "" {
		return api.Status{}, false
	}
	asked := map[string]bool{cfg.Socket(): true}
	for line := range strings.Lines(string(table)) {
		_, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " /")
		if path = "/" + path; filepath.Base(path) != filepath.Base(cfg.Socket()) || asked[path] {
			continue
		}
		asked[path] = true
		if s, err := api.AskStatus(ctx, path, mayBeDaemon); err == nil && s.Health != nil && s.Config.File == cfg.File {
			return s, true
		}
	}
	return api.Status{}, false
}

// otherState is the folder that a daemon keeps its state in, that of its socket, if that is
// another one than that of cfg; else "".
func otherState(cfg setup.Config, s api.Status) string {
	for _, l := range s.Listeners {
		socket, ok := strings.CutPrefix(l.Address, "unix ")
		if !ok || socket == cfg.Socket() {
			continue
		}
		theirs, err := os.Stat(socket)
		ours, none := os.Stat(cfg.Socket())
		if err != nil || none != nil || !os.SameFile(theirs, ours) { // by a link it may be the same
			return filepath.Dir(socket)
		}
	}
	return ""
}

// notRunning tells whether that error of askDaemon is that there is none.
func notRunning(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// differs tells whether the daemon runs with another configuration than cfg.
func differs(cfg setup.Config, s api.Status) bool {
	return s.Health != nil && s.Config.Digest != cfg.Digest()
}

// difference says how the daemon runs with another configuration than a command, and what
// to do about it.
func difference(cfg setup.Config, s api.Status) string {
	const other = "the daemon runs with another configuration than this command: "
	switch last := s.Config.Reread; {
	case last.Refused != "":
		return other + "it refused the file when it read it last: " + last.Refused + "; correct that, then systemctl reload farmboot"
	case otherState(cfg, s) != "":
		return other + fmt.Sprintf("it keeps its state in %s, and this command looks into %s; it takes the other one with a restart (systemctl restart farmboot)", otherState(cfg, s), cfg.State)
	case last.RereadDigest == cfg.Digest() && len(last.NeedsRestart) > 0:
		return other + "it needs a restart (systemctl restart farmboot) for " + strings.Join(last.NeedsRestart, ", ")
	}
	return other + "have it read the file again (systemctl reload farmboot)"
}

// warnIfDiffers warns where the daemon runs with another configuration than a command.
func (e *env) warnIfDiffers(ctx context.Context, cfg setup.Config) {
	if s, err := askDaemon(ctx, cfg); err == nil && differs(cfg, s) {
		fmt.Fprintf(e.stderr, "farmboot: warning: %s\n", printable(difference(cfg, s)))
	}
}

// beside is about a daemon that runs with the state folder that a command works on: it
// may have read another configuration, and the command must not make a new database
// where the daemon has lost its own.
func (e *env) beside(ctx context.Context, cfg setup.Config) error {
	s, err := askDaemon(ctx, cfg)
	if err != nil {
		return nil // there is none, or we may not ask it
	}
	if differs(cfg, s) {
		fmt.Fprintf(e.stderr, "farmboot: warning: %s\n", printable(difference(cfg, s)))
	}
	if s.Health == nil || otherState(cfg, s) != "" {
		return nil
	}
	for _, p := range s.Problems {
		if p.What == lostDatabase {
			return provisioning.Errorf(provisioning.Unavailable, "%s", p.Why)
		}
	}
	return nil
}
