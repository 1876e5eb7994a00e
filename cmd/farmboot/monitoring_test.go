package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apphttp "farmboot/http"
	"farmboot/setup"
	"farmboot/setup/needs"
)

// TestRules has promtool check the Prometheus rules, and run the rules' own tests.
func TestRules(t *testing.T) {
	promtool := needs.Program(t, "promtool", "prometheus")
	for _, args := range [][]string{
		{"check", "rules", "../../setup/monitoring/farmboot.rules.yml"},
		{"test", "rules", "../../setup/monitoring/testdata/rules_test.yml"},
	} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestDashboard: a real Prometheus takes the rules and scrapes us, and every query of
// the Grafana dashboard then returns data.
func TestDashboard(t *testing.T) {
	prometheus := needs.Program(t, "prometheus", "prometheus")
	needs.Template(t)
	target := serveMetrics(t)
	api := startPrometheus(t, prometheus, target)
	queries := dashboardQueries(t)
	if len(queries) < 15 {
		t.Fatalf("the dashboard has %d queries", len(queries))
	}
	deadline := time.Now().Add(waitLimit)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for len(queries) > 0 {
		if hasData(t, api, queries[0]) {
			queries = queries[1:]
			continue
		}
		if time.Now().After(deadline) {
			t.Fatalf("no data: %s", queries[0])
		}
		<-tick.C
	}
}

// serveMetrics runs an appliance without its network listeners, boots a node from it,
// and returns the address of its boot plane.
func serveMetrics(t *testing.T) string {
	t.Helper()
	state := t.TempDir()
	file, _ := daemonConfig(t, state)
	cfg, err := setup.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	a, err := assemble(ctx, cfg, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	running := []func(context.Context) error{
		a.recorder.Run, a.board.Run, a.authority.Run,
	}
	for _, run := range running {
		go func() { done <- run(ctx) }()
	}
	server := httptest.NewServer(apphttp.Plane(a.boot))
	t.Cleanup(func() {
		server.Close()
		cancel()
		for range running {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	kernel := filepath.Join(cfg.Kernel.NetPath, "prod.efi")
	if err := os.MkdirAll(filepath.Dir(kernel), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kernel, []byte("MZ a kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	get(t, server.URL+"/provision/52:54:00:00:00:01")
	get(t, server.URL+"/kernel/net/prod.efi")
	return strings.TrimPrefix(server.URL, "http://")
}

// startPrometheus starts a Prometheus that scrapes target every second, and returns the
// URL of its API.
func startPrometheus(t *testing.T, program, target string) string {
	t.Helper()
	rules, err := filepath.Abs("../../setup/monitoring/farmboot.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: farmboot
    static_configs: [{targets: [%q]}]
`, rules, target)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return "http://" + address + "/api/v1/query?query="
}

// dashboardQueries lists the queries of the dashboard, for every appliance.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	text, err := os.ReadFile("../../setup/monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, strings.ReplaceAll(target.Expr, "$instance", ".*"))
		}
	}
	return queries
}

// hasData tells whether a query returns something. Prometheus may not answer yet.
func hasData(t *testing.T, api, query string) bool {
	t.Helper()
	answer, err := http.Get(api + url.QueryEscape(query))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var result struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal(text, &result); err != nil {
		return false // it starts
	}
	if result.Status != "success" {
		t.Fatalf("%s: %s", query, result.Error)
	}
	return len(result.Data.Result) > 0
}
