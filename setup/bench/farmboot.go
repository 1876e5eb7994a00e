package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"farmboot/setup/lab"
)

// farmboot is an appliance: its state, and the daemon while that runs.
type farmboot struct {
	*lab.Process
	site    *site
	program string
	name    string
	host    *lab.Host
	config  string
}

// kernelSize is about what Zero-OS's kernel has, its initramfs inside.
const kernelSize = 64 << 20

// newFarmboot makes the state of an appliance, with a kernel of 64 MB.
func (s *site) newFarmboot(name string, h *lab.Host) (*farmboot, error) {
	f := &farmboot{site: s, name: name, host: h}
	var err error
	if f.program, err = filepath.Abs(s.program); err != nil {
		return nil, err
	}
	if f.config, err = s.write(fmt.Sprintf("state = %q\n[network]\ninterface = %q\n[ipxe]\ntemplate = %q\n",
		s.path(name), lab.Interface, s.template), name+".toml"); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.path(name, "kernel", "net"), 0o755); err != nil {
		return nil, err
	}
	return f, randomFile(s.path(name, "kernel", "net", "prod.efi"), kernelSize, rand.NewChaCha8([32]byte{1}))
}

// serveBeside starts the other farmboot, on the other host.
func (s *site) serveBeside(ctx context.Context) (server, error) {
	f, err := s.newFarmboot("other", s.other)
	if err != nil {
		return server{}, err
	}
	if f.program, err = filepath.Abs(s.beside); err != nil {
		return server{}, err
	}
	_, err = f.serve(ctx)
	return server{s.other, f.pid()}, err
}

// pid is the daemon's process id; 0 as long as there is none.
func (f *farmboot) pid() int {
	if f.Process == nil {
		return 0
	}
	return f.PID()
}

// serve starts the daemon and returns how long it took to say "ready".
func (f *farmboot) serve(ctx context.Context) (time.Duration, error) {
	log := f.site.path(f.name + ".log.err")
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	begin := time.Now()
	var err error
	if f.Process, err = f.site.start(f.host, f.name+".log", f.program, "serve", "--config", f.config); err != nil {
		return 0, err
	}
	err = poll(ctx, f.Process, func() bool {
		text, err := os.ReadFile(log)
		return err == nil && bytes.Contains(text, []byte(" msg=ready "))
	})
	if err != nil {
		return 0, fmt.Errorf("start farmboot: %w: %s", err, tail(log))
	}
	return time.Since(begin), nil
}

// cli runs a command of farmboot's and returns how long it took.
func (f *farmboot) cli(ctx context.Context, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, f.program, append(args, "--config", f.config)...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	begin := time.Now()
	if err := f.host.Do(cmd.Run); err != nil { // there it finds its interface
		return 0, fmt.Errorf("farmboot %s: %w: %s", args[0], err, problems.String())
	}
	return time.Since(begin), nil
}

// poll asks every half millisecond whether a server that was started is ready.
func poll(ctx context.Context, p *lab.Process, ready func() bool) error {
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-p.Done():
			return errors.New("it ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
