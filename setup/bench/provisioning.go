package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

const (
	fewNodes  = 1_000
	manyNodes = 1_000_000
)

// benchProvisioning measures what a million registered nodes cost: to import, and
// then every node that asks for its boot script.
func benchProvisioning(ctx context.Context, s *site, rep *report) error {
	few, _, err := s.registered(ctx, "few", fewNodes)
	if err != nil {
		return err
	}
	many, took, err := s.registered(ctx, "many", manyNodes)
	if err != nil {
		return err
	}
	plain, err := s.importWithSQLite(ctx)
	if err != nil {
		return err
	}
	rep.add(row{
		what: "node import, 1,000,000 rows", unit: perSecond, ours: manyNodes / took.Seconds(), beside: manyNodes / plain.Seconds(),
		peer: "sqlite3 .import, unchecked",
	})
	m, err := compare(7,
		func() (sample, error) { return s.provision(many, manyNodes) },
		func() (sample, error) { return s.provision(few, fewNodes) })
	if err != nil {
		return err
	}
	const peer = "1,000 nodes"
	rep.add(row{what: "GET /provision/MAC, 1,000,000 nodes, median", unit: micros, ours: m[0]["p50"], beside: m[1]["p50"], peer: peer, goal: 1.3, ratio: true})
	rep.add(row{what: "GET /provision/MAC, 1,000,000 nodes, 99th percentile", unit: micros, ours: m[0]["p99"], beside: m[1]["p99"], peer: peer})
	var held [2]float64
	for i, on := range []server{many, few} {
		if held[i], err = memory(on.pid, "Rss"); err != nil {
			return err
		}
	}
	rep.add(row{what: "resident memory after that", unit: megabytes, ours: held[0], beside: held[1], peer: peer})
	return ctx.Err()
}

// mac is the MAC address of node n.
func mac(n int) string {
	return fmt.Sprintf("52:54:%02x:%02x:%02x:%02x", byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// registered starts an appliance with so many nodes, on a host of its own, and
// returns how long their import took.
func (s *site) registered(ctx context.Context, name string, nodes int) (on server, took time.Duration, err error) {
	host, err := s.lan.Join(0)
	if err != nil {
		return on, 0, err
	}
	f, err := s.newFarmboot(name, host)
	if err != nil {
		return on, 0, err
	}
	if err := writeNodes(s.path("nodes.csv"), nodes); err != nil {
		return on, 0, err
	}
	if took, err = f.cli(ctx, "node", "import", s.path("nodes.csv")); err != nil {
		return on, 0, err
	}
	_, err = f.serve(ctx)
	if err != nil {
		return on, 0, err
	}
	settle(ctx)
	return server{host, f.PID()}, took, nil
}

// writeNodes writes a CSV file of nodes, twenty to a farmer.
func writeNodes(path string, nodes int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	_, _ = w.WriteString("mac,farmer,runmode,args,name\n") // errors stay until Flush
	for i := range nodes {
		_, _ = fmt.Fprintf(w, "%s,%d,prod,console=ttyS0,node-%d\n", mac(i), 1+i/20, i)
	}
	return w.Flush()
}

// importWithSQLite is the least that an import can take.
func (s *site) importWithSQLite(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	out, err := exec.CommandContext(ctx, "sqlite3", s.path("plain.db"),
		"CREATE TABLE nodes (mac TEXT PRIMARY KEY, farmer, runmode, args, name) WITHOUT ROWID",
		".mode csv", ".import --skip 1 "+s.path("nodes.csv")+" nodes").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("sqlite3: %w: %s", err, out)
	}
	return time.Since(begin), nil
}

// provision has a farm of a thousand of the nodes ask for their scripts, one after
// the other, twice. The traffic is the same however many nodes are registered.
func (s *site) provision(on server, nodes int) (sample, error) {
	c, err := s.connect(on.host, false)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var received atomic.Int64
	times := make([]time.Duration, 2*fewNodes)
	for i := range times {
		req := request("/provision/" + mac(i%fewNodes*(nodes/fewNodes)))
		begin := time.Now()
		if err := c.get(req, &received); err != nil {
			return nil, err
		}
		times[i] = time.Since(begin)
	}
	return sample{"p50": inMicros(quantile(times, 0.5)), "p99": inMicros(quantile(times, 0.99))}, nil
}
