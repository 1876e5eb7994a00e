package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"farmboot/setup/needs"
)

// waitLimit is how long a test waits for what must happen.
const waitLimit = time.Minute

// daemonConfig writes a configuration for a daemon on loopback, with ports of its own.
func daemonConfig(t *testing.T, state string) (file string, port int) {
	t.Helper()
	var held []net.Listener
	tcp := func() int {
		ln, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, ln)
		return ln.Addr().(*net.TCPAddr).Port
	}
	port, tlsPort := tcp(), tcp()
	for _, ln := range held { // only now, or both would be the same one at times
		ln.Close()
	}
	file = filepath.Join(t.TempDir(), "a.toml")
	text := fmt.Sprintf("state = %q\nnetwork.interface = \"lo\"\ndhcp.enabled = false\ntftp.enabled = false\nhttp.port = %d\nhttp.tls-port = %d\n", state, port, tlsPort)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file, port
}

// TestServeCancelledStart: to be stopped while starting is not a failure.
func TestServeCancelledStart(t *testing.T) {
	file, _ := daemonConfig(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	status := run(ctx, []string{"--config", file, "serve"}, &env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, now: time.Now})
	if status != exitOK || !strings.Contains(stderr.String(), "stopped while starting") || strings.Contains(stderr.String(), "farmboot: ") {
		t.Errorf("exit %d, %s", status, stderr.String())
	}
}

// TestStopIsAnnounced: systemd hears of a stop when it begins, not when all has ended.
func TestStopIsAnnounced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	ctx, cancel := context.WithCancel(t.Context())
	a := &appliance{log: slog.New(slog.DiscardHandler)}
	slow := func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		if err := systemd.SetReadDeadline(time.Now().Add(waitLimit)); err != nil {
			return err
		}
		b := make([]byte, 64)
		n, err := systemd.Read(b)
		if err == nil && string(b[:n]) != "STOPPING=1" {
			err = fmt.Errorf("systemd was told %q", b[:n])
		}
		return err
	}
	if err := runAll(ctx, []service{{"slow", slow}, {"stop", a.announceStop}}); err != nil {
		t.Error(err)
	}
}

// mounted starts a shell script that may mount what it likes, unseen by others, and returns
// what comes on its standard error. It is killed if it takes too long.
func mounted(t *testing.T, script string, args ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "sh", "-euc", script, "sh"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.AfterFunc(waitLimit, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { deadline.Stop() })
	return cmd, bufio.NewScanner(stderr)
}

// TestServeReadOnlyState: a disk that turned read-only keeps no node from booting.
func TestServeReadOnlyState(t *testing.T) {
	needs.Root(t)
	needs.Template(t)
	state := t.TempDir()
	file, port := daemonConfig(t, state)
	// The mount is seen in this process' namespace only. The state is what a daemon
	// had that was killed.
	cmd, lines := mounted(t, `
		mount -t tmpfs none "$1"
		farmboot --config "$2" node add 52:54:00:00:00:01 --name kept >&2
		farmboot --config "$2" image krn-provision -o - > "$1/image"
		mount -o remount,ro "$1"
		exec farmboot --config "$2" serve`, state, file)
	var log strings.Builder
	for lines.Scan() {
		log.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "msg=ready") {
			script := get(t, fmt.Sprintf("http://127.0.0.1:%d/provision/52:54:00:00:00:01", port))
			if !strings.Contains(script, "kept") {
				t.Errorf("the node's script: %s", script)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v", err)
	}
	if n := strings.Count(log.String(), "no admin socket"); n != 1 || !strings.Contains(log.String(), "read-only file system") {
		t.Errorf("%d lines say that there is no admin socket", n)
	}
	if _, end, found := strings.Cut(log.String(), "msg=stopping"); !found || !strings.Contains(end, "msg=stopped") {
		t.Error("no clean stop")
	}
	if t.Failed() {
		t.Log(log.String())
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	_, text := request(t, http.DefaultClient, http.MethodGet, url)
	return text
}

// request sends a request without a body, and returns the answer.
func request(t *testing.T, client *http.Client, method, url string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// TestLogFormat: what collects logs gets an object a line, if it is to be JSON.
func TestLogFormat(t *testing.T) {
	for format, accepted := range map[string]func(string) bool{
		"json": func(line string) bool { return json.Valid([]byte(line)) },
		"text": func(line string) bool { return strings.HasPrefix(line, "time=") },
	} {
		file, _ := daemonConfig(t, t.TempDir())
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "log-format = %q\n", format)
		f.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var stderr bytes.Buffer
		run(ctx, []string{"--config", file, "serve"}, &env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr, now: time.Now})
		if line, _, _ := strings.Cut(stderr.String(), "\n"); !accepted(line) {
			t.Errorf("%s: the log has %q", format, line)
		}
	}
}
