package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"farmboot/setup/lab"
)

// pairKernel is the size of the kernel: 16 GB for all nodes, so that it takes seconds.
const pairKernel = 16 << 20

// benchPostgres has two appliances share the nodes in a PostgreSQL server: what a million
// of them cost a node that asks for its script, and what becomes of a farm that boots from
// both at once when one of them is killed.
func benchPostgres(ctx context.Context, s *site, rep *report) error {
	db, err := s.postgres(ctx)
	if err != nil {
		return err
	}
	var pair [2]*farmboot
	for i, h := range []*lab.Host{s.ours, s.other} {
		name := fmt.Sprintf("shared%d", i)
		if pair[i], err = s.newFarmboot(name, h); err != nil {
			return err
		}
		if err := pair[i].storeIn(db.url()); err != nil {
			return err
		}
		if err := randomFile(s.path(name, "kernel", "net", "prod.efi"), pairKernel, rand.NewChaCha8([32]byte{2})); err != nil {
			return err
		}
		if _, err := pair[i].serve(ctx); err != nil {
			return err
		}
	}
	lookups := make([]medians, 2)
	for i, nodes := range []int{fewNodes, manyNodes} {
		if err := db.fill(ctx, nodes); err != nil {
			return err
		}
		m, err := compare(5, func() (sample, error) { return s.provision(server{host: s.ours}, nodes) })
		if err != nil {
			return err
		}
		lookups[i] = m[0]
	}
	const peer = "1,000 nodes"
	rep.add(row{what: "GET /provision/MAC, 1,000,000 nodes, median", unit: micros, ours: lookups[1]["p50"], beside: lookups[0]["p50"], peer: peer, goal: 1.3, ratio: true})
	rep.add(row{what: "GET /provision/MAC, 1,000,000 nodes, 99th percentile", unit: micros, ours: lookups[1]["p99"], beside: lookups[0]["p99"], peer: peer})
	whole, err := s.pairStorm(ctx, pair, false)
	if err != nil {
		return err
	}
	killed, err := s.pairStorm(ctx, pair, true)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("two appliances, %d nodes at once, one killed: ", stormNodes)
	rep.add(row{what: line + "booted", unit: count, ours: killed["booted"], beside: whole["booted"], peer: "none is killed"})
	rep.add(row{what: line + "the last", unit: millis, ours: killed["last"], beside: whole["last"], peer: "none is killed"})
	return ctx.Err()
}

// storeIn keeps the nodes of an appliance in another database.
func (f *farmboot) storeIn(database string) error {
	text, err := os.ReadFile(f.config)
	if err != nil {
		return err
	}
	return os.WriteFile(f.config, fmt.Appendf(text, "[provisioning]\ndatabase = %q\n", database), 0o644)
}

// pairStorm has a farm boot all at once from two appliances, half of it from each, and
// may kill one of them when a quarter of the kernels' bytes have arrived: its nodes begin
// anew at the other, as a node does that is offered a boot program by both.
func (s *site) pairStorm(ctx context.Context, pair [2]*farmboot, kill bool) (sample, error) {
	var received atomic.Int64
	var killing errgroup.Group
	if kill {
		killing.Go(func() error {
			quarter := func() bool { return received.Load() > stormNodes*pairKernel/4 }
			err := poll(ctx, pair[1].Process, quarter)
			pair[1].Kill()
			return err
		})
	}
	times, errs := atOnce(stormNodes, func(i int) (err error) {
		path := "/provision/" + mac(i) + "?platform=efi&arch=x86_64"
		for try := range 2 {
			on := server{host: pair[(i+try)%2].host}
			if err = s.bootOnce(ctx, on, "iPXE/1.21.1", path, &received); err == nil {
				break
			}
		}
		return err
	})
	if err := killing.Wait(); err != nil {
		return nil, err
	}
	if kill { // it need not be stopped
		s.running = slices.DeleteFunc(s.running, func(p stopper) bool { return p == pair[1].Process })
	}
	booted := 0
	for _, err := range errs {
		if err == nil {
			booted++
		}
	}
	if booted == 0 {
		return nil, errors.Join(errs...)
	}
	return sample{"booted": float64(booted), "last": inMillis(quantile(times, 1))}, nil
}

// database is a PostgreSQL server that only its Unix socket leads to.
type database struct {
	folder string // with the socket in it, which all hosts reach
	bin    string
}

// postgres starts one, as the user that Debian's package made: it refuses to run as root.
func (s *site) postgres(ctx context.Context) (*database, error) {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		return nil, errors.Join(errors.New("no PostgreSQL server: setup/packages.sh bench"), err)
	}
	slices.Sort(bins)
	d := &database{bin: bins[len(bins)-1]}
	// Not in the site's folder, which is root's alone; and a socket's path is short.
	if d.folder, err = os.MkdirTemp("", "pg"); err != nil {
		return nil, err
	}
	s.started(d)
	if err := exec.CommandContext(ctx, "chown", "postgres:", d.folder).Run(); err != nil {
		return nil, fmt.Errorf("give %s to postgres: %w", d.folder, err)
	}
	data := filepath.Join(d.folder, "data")
	if err := d.do(ctx, "initdb", "--pgdata", data, "--auth", "trust", "--encoding", "UTF8", "--locale", "C"); err != nil {
		return nil, err
	}
	p, err := s.start(s.nodes, "postgres.log", "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups",
		filepath.Join(d.bin, "postgres"), "-D", data, "-k", d.folder, "-c", "listen_addresses=")
	if err != nil {
		return nil, err
	}
	if err := poll(ctx, p, func() bool { return d.do(ctx, "pg_isready", "-h", d.folder) == nil }); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w: %s", err, tail(s.path("postgres.log.err")))
	}
	return d, nil
}

// do runs one of PostgreSQL's programs.
func (d *database) do(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, "setpriv", append([]string{"--reuid=postgres", "--regid=postgres", "--init-groups", filepath.Join(d.bin, name)}, args...)...)
	cmd.Dir = d.folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// fill makes it have so many nodes, twenty to a farmer, as writeNodes does.
func (d *database) fill(ctx context.Context, nodes int) error {
	return d.do(ctx, "psql", "-h", d.folder, "-d", "postgres", "-q", "-v", "ON_ERROR_STOP=1", "-c", fmt.Sprintf(`
		INSERT INTO farmers (id, name) SELECT i, '' FROM generate_series(1, 1 + %[1]d / 20) i ON CONFLICT DO NOTHING;
		INSERT INTO nodes (mac, farmer, runmode, args, kernel, name, nbp, created, updated, owned)
			SELECT decode('5254' || lpad(to_hex(i), 8, '0'), 'hex'), 1 + i / 20, 'prod', 'console=ttyS0', '', 'node-' || i, '', 0, 0, 0
			FROM generate_series(0, %[1]d - 1) i ON CONFLICT DO NOTHING;`, nodes), "-c", "ANALYZE")
}

func (d *database) url() string {
	return "postgres:///postgres?host=" + url.QueryEscape(d.folder) + "&user=postgres"
}

// Stop removes its files, after the server has been stopped.
func (d *database) Stop() error { return os.RemoveAll(d.folder) }
