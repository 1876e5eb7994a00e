package api_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	apphttp "farmboot/http"
	"farmboot/http/answer"
	"farmboot/http/api"
	"farmboot/http/authn"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/rollout"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/sqlite"
)

// killedFolder tells the test binary to be the daemon that TestKill kills: the
// folder of its state.
const killedFolder = "FARMBOOT_TEST_KILLED_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedFolder); dir != "" {
		if err := daemon(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// daemon serves the API of the state in dir to everybody, and prints where.
func daemon(dir string) error {
	store, err := sqlite.Open(context.Background(), filepath.Join(dir, "provisioning.db"))
	if err != nil {
		return err
	}
	kernels := kernel.Open(filepath.Join(dir, "kernel"), filepath.Join(dir, "kernel/net"))
	if err := kernels.Sweep(); err != nil {
		return err
	}
	log, metrics := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + ln.Addr().String())
	nodes := registry.New(store, rules(kernels), clock)
	return apphttp.Serve(context.Background(), ln, apphttp.Plane(&api.API{
		Answer: answer.NewAdapter(log, clock, metrics), Registry: nodes,
		Kernels: kernels, KernelEditor: kernel.NewEditor(kernels, nodes), Rollout: rollout.New(store, kernels, kernel.NewEditor(kernels, nodes), clock), Composer: composer, Health: healthy, Authenticate: authn.Local, Throttle: authn.NewThrottle(clock), Now: clock, Log: log,
	}), log)
}

// start starts the daemon, and returns its URL. Kill it.
func start(t *testing.T, dir string) (url string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killedFolder+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(url), func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// checkable is a kernel that tells whether it is whole: its name is its digest.
func checkable(seed int) (name string, text []byte) {
	text = []byte(kernelText(strings.Repeat(fmt.Sprintf("%d ", seed), 1+rand.IntN(50_000))))
	return fmt.Sprintf("%x.efi", sha256.Sum256(text)), text
}

// TestKill kills the daemon with SIGKILL at random, while nodes are registered and
// kernels uploaded, again and again: what was acknowledged is there, and no half
// file is, nor one that nobody will ever need.
func TestKill(t *testing.T) {
	rounds, each := 8, 250 // a thousand writes
	if testing.Short() {
		rounds, each = 2, 20
	}
	dir := t.TempDir()
	var acknowledged sync.Map // paths below /api/v1/
	var number atomic.Int64
	for range rounds {
		url, kill := start(t, dir)
		var left atomic.Int64
		left.Store(1 + rand.Int64N(int64(each)))
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for {
					path, status, err := write(t, url, int(number.Add(1)))
					if err != nil { // it has been killed
						return
					}
					if status != http.StatusCreated {
						t.Errorf("%s: status %d", path, status)
						return
					}
					acknowledged.Store(path, true)
					if left.Add(-1) == 0 {
						kill()
					}
				}
			})
		}
		workers.Wait()
		kill()
	}
	url, kill := start(t, dir)
	defer kill()
	acknowledged.Range(func(path, _ any) bool {
		res, err := http.Get(url + path.(string))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s was acknowledged, and is gone: status %d", path, res.StatusCode)
		}
		return true
	})
	entries, err := os.ReadDir(filepath.Join(dir, "kernel"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, "kernel", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%x.efi", sha256.Sum256(text)); e.Name() != want {
			t.Errorf("%s holds %s", e.Name(), want)
		}
	}
}

// write registers a node or uploads a kernel, and returns where it is then.
func write(t *testing.T, url string, n int) (path string, status int, err error) {
	t.Helper()
	method, path, body := http.MethodPost, "/api/v1/nodes", []byte(fmt.Sprintf(`{"mac":"5254%08x"}`, n))
	if n%2 == 0 {
		name, text := checkable(n)
		method, path, body = http.MethodPut, "/api/v1/kernels/"+name, text
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPut {
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	return res.Header.Get("Location"), res.StatusCode, nil
}
