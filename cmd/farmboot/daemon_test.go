package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"farmboot/http/api"
	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/provisioning"
	"farmboot/setup/needs"
)

// daemon is a farmboot serve on loopback.
type daemon struct {
	t           *testing.T
	program     string
	file, state string
	port        int
	cmd         *exec.Cmd
	read        chan struct{} // closed when its log has ended

	mu  sync.Mutex
	log strings.Builder
}

// startDaemon starts one, with a kernel, and waits until it is ready.
func startDaemon(t *testing.T) *daemon {
	t.Helper()
	return startDaemonWith(t, func(string) {})
}

// startDaemonWith has its state folder prepared before.
func startDaemonWith(t *testing.T, prepare func(state string)) *daemon {
	t.Helper()
	return startDaemonAs(t, "farmboot", func(d *daemon) { prepare(d.state) })
}

// startDaemonAs starts a program that is a farmboot.
func startDaemonAs(t *testing.T, program string, prepare func(*daemon)) *daemon {
	t.Helper()
	d := &daemon{t: t, program: program, state: filepath.Join(t.TempDir(), "state")}
	d.file, d.port = daemonConfig(t, d.state)
	d.addKernel()
	prepare(d)
	d.launch()
	t.Cleanup(func() {
		if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		late := time.AfterFunc(waitLimit, func() { _ = d.cmd.Process.Signal(syscall.SIGQUIT) }) // the log says where it hangs
		defer late.Stop()
		<-d.read
		if err := d.cmd.Wait(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(d.text())
		}
	})
	d.says("msg=ready", 1)
	return d
}

// launch starts the process.
func (d *daemon) launch() {
	d.t.Helper()
	d.cmd = exec.CommandContext(context.WithoutCancel(d.t.Context()), d.program, "--config", d.file, "serve")
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.read = make(chan struct{})
	go func() {
		defer close(d.read)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			d.mu.Lock()
			d.log.WriteString(lines.Text() + "\n")
			d.mu.Unlock()
		}
	}()
}

// kill ends the process with SIGKILL.
func (d *daemon) kill() {
	d.t.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		d.t.Fatal(err)
	}
	<-d.read
	_ = d.cmd.Wait() // it was killed
}

// addKernel puts prod's kernel into the kernel folder.
func (d *daemon) addKernel() {
	d.t.Helper()
	folder := filepath.Join(d.state, "kernel/net")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "prod.efi"), []byte("MZ"), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// until waits until a condition holds.
func (d *daemon) until(what string, holds func() bool) {
	d.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(waitLimit); !holds(); <-tick.C {
		if time.Now().After(end) {
			d.t.Fatalf("it does not come to: %s", what)
		}
	}
}

// says waits until the log has the words so many times.
func (d *daemon) says(words string, times int) {
	d.t.Helper()
	d.until("log says "+words, func() bool { return strings.Count(d.text(), words) >= times })
}

// get fetches a path of the boot plane.
func (d *daemon) get(path string) (int, string) {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", d.port, path), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// health waits for a status of /healthz, and words in its one line.
func (d *daemon) health(want int, words string) {
	d.t.Helper()
	d.until(fmt.Sprintf("health %d %s", want, words), func() bool {
		status, text := d.get("/healthz")
		return status == want && strings.Contains(text, words) && strings.Count(text, "\n") == 1
	})
}

// command runs a command beside the daemon.
func (d *daemon) command(args ...string) (status int, stdout, stderr string) {
	d.t.Helper()
	var out, errs bytes.Buffer
	status = run(d.t.Context(), append([]string{"--config", d.file}, args...), &env{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, now: time.Now})
	return status, out.String(), errs.String()
}

// configure adds lines to the configuration, before all tables.
// api returns a function that calls the API by the socket, without a body.
func (d *daemon) api() func(method, path string) (status int, body string) {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var n net.Dialer
		return n.DialContext(ctx, "unix", filepath.Join(d.state, "farmboot.sock"))
	}}}
	d.t.Cleanup(client.CloseIdleConnections)
	return func(method, path string) (int, string) {
		d.t.Helper()
		return request(d.t, &client, method, "http://local/api/v1/"+path)
	}
}

func (d *daemon) configure(lines string) {
	d.t.Helper()
	text, err := os.ReadFile(d.file)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(d.file, append([]byte(lines+"\n"), text...), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) hangup() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) remove(path string) {
	d.t.Helper()
	err := os.RemoveAll(filepath.Join(d.state, path))
	for errors.Is(err, syscall.ENOTEMPTY) { // the daemon has just made something there
		err = os.RemoveAll(filepath.Join(d.state, path))
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

const script = "/provision/52:54:00:00:00:01"

// TestReload: SIGHUP, which systemctl reload sends, has the daemon take what can
// change; whoever works beside a daemon with another configuration is told.
func TestReload(t *testing.T) {
	d := startDaemon(t)
	if status, _, stderr := d.command("node", "add", "52:54:00:00:00:01", "--farmer", "7"); status != 0 || stderr != "farmer 7 was not registered, and is now\n" {
		t.Fatalf("exit %d, %s", status, stderr)
	}
	if _, text := d.get(script); !strings.Contains(text, "farmer_id=7") || strings.Contains(text, "quiet") {
		t.Errorf("script:\n%s", text)
	}
	d.configure("boot.kernel-args = 'quiet'\nrunmodes.lab = 'Lab'\nbase-host = 'http://boot.example'\nkernel.net-path = 'other'\ndebug = true\nsecure-boot.enabled = true")
	if status, _, stderr := d.command("node", "list"); status != 0 || !strings.Contains(stderr, "warning: the daemon runs with another configuration") {
		t.Errorf("exit %d, %q", status, stderr)
	}
	d.hangup()
	d.says(`changed="base-host debug boot.kernel-args runmodes" needs_restart="kernel.net-path secure-boot.enabled"`, 1)
	const restart = "the daemon runs with another configuration than this command: it needs a restart (systemctl restart farmboot) for kernel.net-path, secure-boot.enabled\n"
	if status, stdout, stderr := d.command("status"); status != 0 || stderr != "" || !strings.Contains(stdout, restart) || strings.Contains(stdout, "the daemon works") {
		t.Errorf("exit %d, %q, %q", status, stdout, stderr)
	}
	for _, args := range [][]string{{"secureboot", "show"}, {"secureboot", "enrol", "52:54:00:00:00:01"}, {"secureboot", "rotate", "--yes"}, {"secureboot", "export", filepath.Join(d.state, "keys")}, {"node", "list"}} {
		if _, _, stderr := d.command(args...); !strings.Contains(stderr, "farmboot: warning: "+restart) {
			t.Errorf("%q: %q", args, stderr)
		}
	}
	d.until("the new script", func() bool {
		_, text := d.get(script)
		return strings.Contains(text, "http://boot.example/kernel/") && strings.Contains(text, "quiet runmode=prod farmer_id=7")
	})
	if _, text := d.get("/ipxe/lab/7"); !strings.Contains(text, "no kernel") && !strings.Contains(text, "lab") {
		t.Errorf("the new run mode: %s", text)
	}
	d.says("level=DEBUG", 1)
	if strings.Contains(d.text(), "network changed") {
		t.Error("another base-host is told as another network")
	}

	differs := func(want string) {
		t.Helper()
		if _, stdout, _ := d.command("status"); !strings.Contains(stdout, "the daemon runs with another configuration than this command: "+want+"\n") {
			t.Errorf("status does not say %q:\n%s", want, stdout)
		}
	}
	d.configure("kernel.keep = 7") // and is not read again
	differs("have it read the file again (systemctl reload farmboot)")

	// A restart would end with what keeps the daemon from starting: nobody is advised to, neither
	// before the daemon has looked nor when it has refused the file.
	d.configure("http.tls-cert = '/none/cert.pem'\nhttp.tls-key = '/none/key.pem'")
	const missing = "http.tls-cert: open /none/cert.pem: no such file or directory; http.tls-key: open /none/key.pem: no such file or directory; "
	wouldNotStart := func() {
		t.Helper()
		if _, stdout, _ := d.command("status"); !strings.Contains(stdout, missing+"the daemon runs with what it read before, and would not start with this\n") || strings.Contains(stdout, "restart") {
			t.Errorf("status: %s", stdout)
		}
	}
	wouldNotStart()
	d.hangup()
	d.says("configuration not taken", 1)
	wouldNotStart()
	if _, _, stderr := d.command("node", "add", "52:54:00:00:00:77", "--farmer", "7"); !strings.Contains(stderr, "it refused the file when it read it last: "+missing+"correct that, then systemctl reload farmboot\n") {
		t.Errorf("a command beside it: %s", stderr)
	}

	d.configure("colour = 1\nlog-format = 3")
	d.hangup()
	d.says("configuration not taken", 2)
	if text := d.text(); !strings.Contains(text, "unknown key colour (and 1 more") {
		t.Error("the mistakes are not said")
	}
	if _, text := d.get(script); !strings.Contains(text, "quiet runmode=prod") {
		t.Errorf("script after a bad file:\n%s", text)
	}
}

// TestStateMoves: beside a daemon that keeps its state where the configuration file said so before,
// commands say which folder they look into, and status finds it.
func TestStateMoves(t *testing.T) {
	d := startDaemon(t)
	text, err := os.ReadFile(d.file)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(d.file, bytes.Replace(text, []byte(d.state), []byte(other), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	says := "the daemon runs with another configuration than this command: it keeps its state in " + d.state + ", and this command looks into " + other + "; it takes the other one with a restart (systemctl restart farmboot)\n"
	for range 2 { // before the file is read again, and behind
		if status, stdout, stderr := d.command("status"); status != 0 || !strings.Contains(stdout, says) || !strings.Contains(stdout, "unix "+d.state) || stderr != "" {
			t.Errorf("status: exit %d, %s%s", status, stdout, stderr)
		}
		if status, _, stderr := d.command("node", "list"); status != 0 || stderr != "farmboot: warning: "+says {
			t.Errorf("node list: exit %d, %s", status, stderr)
		}
		d.hangup()
		d.says(`level=WARN msg="configuration read again"`, 1)
		d.says(`needs_restart="state kernel.path kernel.net-path provisioning.database"`, 1)
	}
	// Another daemon, which reads another file, is not meant.
	file := filepath.Join(t.TempDir(), "a.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "state = %q\n", other), 0o644); err != nil {
		t.Fatal(err)
	}
	d.file = file
	if status, _, stderr := d.command("status"); status != exitRefused || !strings.Contains(stderr, "the daemon does not run: no daemon listens on "+other) {
		t.Errorf("status of another file: exit %d, %s", status, stderr)
	}
}

// TestForgedStatus: where no daemon runs, another user's socket of that name is sent nothing. What is
// said by one that is believed cannot steer the terminal.
func TestForgedStatus(t *testing.T) {
	needs.Root(t)
	folder := t.TempDir()
	file := filepath.Join(folder, "a.toml")
	if err := os.WriteFile(file, []byte("state = \".\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append([]string{"--config", file}, args...), &env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, now: time.Now})
		return status, stdout.String(), stderr.String()
	}
	const escape = "\x1b[31mred\u009b"
	forged := daemonStatus{Status: api.Status{
		Version: "v" + escape, RunModes: []api.RunMode{{RunMode: "prod" + escape, Missing: "m" + escape, Candidate: "c" + escape, Held: "h" + escape}, {Kernel: true, Doubt: "d" + escape}},
		Unconfigured: []provisioning.Unconfigured{{RunMode: "old" + escape, Nodes: 2}},
		Health: &api.Health{
			Listeners: []api.Listener{{Service: "s" + escape, Address: "a" + escape, Interface: "i" + escape}}, Problems: []api.Problem{{What: "w" + escape, Why: "y" + escape}}, Config: api.Config{File: file},
		},
	}}
	var asked atomic.Int64
	answer := func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if err := json.NewEncoder(w).Encode(forged.Status); err != nil {
			t.Error(err)
		}
	}
	for _, uid := range []int{1000, 65534, 61183, 65520} {
		defer serveAs(t, uid, answer)()
	}
	for _, args := range [][]string{{"status"}, {"node", "list"}} {
		_, stdout, stderr := command(args...)
		if asked.Load() != 0 || strings.Contains(stdout+stderr, "red") {
			t.Errorf("%q: asked %d times: %s%s", args, asked.Load(), stdout, stderr)
		}
	}
	if status, _, stderr := command("status"); status != exitRefused || !strings.Contains(stderr, "the daemon does not run: no daemon listens on "+folder) {
		t.Errorf("status: exit %d, %s", status, stderr)
	}
	for _, uid := range []int{0, 61184, 65519} {
		asked.Store(0)
		stop := serveAs(t, uid, answer)
		status, stdout, stderr := command("status")
		stop()
		if status != exitOK || asked.Load() == 0 || strings.ContainsAny(stdout+stderr, "\x1b\u009b") {
			t.Errorf("uid %d: exit %d, asked %d times: %q %q", uid, status, asked.Load(), stdout, stderr)
		}
		for _, what := range []string{"v", "prod", "m", "c", "h", "d", "old", "s", "a", "i", "w", "y"} {
			if !strings.Contains(stdout, what+`\x1b[31mred\u009b`) {
				t.Errorf("uid %d: no %q in %s", uid, what, stdout)
			}
		}
	}
}

// serveAs serves on a socket farmboot.sock on which that user listens, until stop.
func serveAs(t *testing.T, uid int, h http.HandlerFunc) (stop func()) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "farmboot.sock")
	defer file.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "farmboot.sock")}); err != nil {
		t.Fatal(err)
	}
	become := func(uid int) { // this thread alone
		if _, _, fault := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); fault != 0 {
			t.Fatal(fault)
		}
	}
	runtime.LockOSThread()
	become(uid)
	err = unix.Listen(fd, 5)
	become(0)
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	return func() {
		server.Close()
		<-done
	}
}

// TestReloadOfTemplate: a folder with nothing to boot from is not taken in the place of one that
// works; of one with broken files the log says which.
func TestReloadOfTemplate(t *testing.T) {
	d := startDaemon(t)
	folder := filepath.Join(d.state, "other")
	if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, "ipxe.efi"), []byte("MZ"), 0o644)); err != nil {
		t.Fatal(err)
	}
	d.configure("ipxe.template = 'other'")
	d.hangup()
	d.says(`msg="configuration not taken, going on with that of before" err="no network boot program that can be used is in the iPXE template folder `+folder, 1)
	if status, _ := d.get("/boot/ipxe.efi"); status != http.StatusOK {
		t.Errorf("the former folder is not used any more: %d", status)
	}
	program, err := os.ReadFile(filepath.Join(needs.Template(t), "undionly.kpxe"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "undionly.kpxe"), program, 0o644); err != nil {
		t.Fatal(err)
	}
	d.hangup()
	d.says(`changed=ipxe.template`, 1)
	d.says(`msg="boot file cannot be used" file=ipxe.efi err="ipxe.efi in the iPXE template folder cannot be used`, 1)
}

// TestClaimAtOnce: a node can be claimed by its MAC address as soon as it has been seen, though what
// happens is stored later.
func TestClaimAtOnce(t *testing.T) {
	d := startDaemon(t)
	call := d.api()
	for i := range 5 {
		mac := fmt.Sprintf("52:54:00:00:09:%02x", i)
		if status, _ := d.get("/provision/" + mac); status != http.StatusOK {
			t.Fatalf("no script: %d", status)
		}
		if status, text := call(http.MethodPost, "nodes/"+mac+"/claim"); status != http.StatusCreated {
			t.Errorf("claim of %s: %d, %s", mac, status, text)
		}
	}
}

// TestStartWithoutPrograms: where the template folder is empty nodes get their scripts all the same,
// and status says what is missing.
func TestStartWithoutPrograms(t *testing.T) {
	d := startDaemonAs(t, "farmboot", func(d *daemon) {
		if err := os.Mkdir(filepath.Join(d.state, "empty"), 0o755); err != nil {
			t.Fatal(err)
		}
		d.configure("ipxe.template = 'empty'")
	})
	if status, _ := d.get(script); status != http.StatusOK {
		t.Errorf("no script: %d", status)
	}
	d.until("status says what is missing", func() bool {
		_, stdout, _ := d.command("status")
		return strings.Contains(stdout, "PROBLEM boot file ipxe.efi") && strings.Contains(stdout, "PROBLEM boot file undionly.kpxe")
	})
	d.configure("debug = true")
	d.hangup()
	d.says("changed=debug", 1) // nothing is lost by it
}

// TestRunModeRemoved: nodes of a run mode that is taken out of the configuration cannot boot, which
// the log of the reload and of the start, status and the API say; they are found, and moved.
func TestRunModeRemoved(t *testing.T) {
	const lab = "runmodes.lab = 'Lab'\n"
	d := startDaemonAs(t, "farmboot", func(d *daemon) { d.configure(lab) })
	for _, args := range [][]string{
		{"add", "52:54:00:00:00:01", "--runmode", "lab"},
		{"add", "52:54:00:00:00:02", "--runmode", "lab"},
		{"add", "52:54:00:00:00:03", "--runmode", "lab"},
		{"set", "52:54:00:00:00:03", "--exit"},
	} {
		if status, _, stderr := d.command(append([]string{"node"}, args...)...); status != 0 {
			t.Fatal(stderr)
		}
	}
	text, err := os.ReadFile(d.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.file, bytes.Replace(text, []byte(lab), nil, 1), 0o644); err != nil {
		t.Fatal(err)
	}
	const why, mend = "is not in the configuration: the 2 nodes of it cannot boot", "farmboot node set --match runmode=lab --runmode R gives its nodes another one; or put it into [runmodes] again"
	const logged = `msg="a run mode ` + why + `" runmode=lab nodes=2 mend="` + mend + `"`
	d.hangup()
	d.says(logged, 1)
	d.kill()
	d.launch()
	d.says("msg=ready", 2)
	d.says(logged, 2)
	d.hangup()
	d.says(logged, 3)

	row := regexp.MustCompile(`(?m)^run mode lab +` + regexp.QuoteMeta(why+"; "+mend) + `$`)
	if _, stdout, _ := d.command("status"); !row.MatchString(stdout) {
		t.Errorf("status:\n%s", stdout)
	}
	var s daemonStatus
	if _, stdout, _ := d.command("status", "--json"); json.Unmarshal([]byte(stdout), &s) != nil || len(s.Unconfigured) != 1 || s.Unconfigured[0] != (provisioning.Unconfigured{RunMode: "lab", Nodes: 2}) {
		t.Errorf("status: %s", stdout)
	}
	if status, stdout, stderr := d.command("node", "list", "--runmode", "lab"); status != 0 || strings.Count(stdout, "lab") != 3 {
		t.Errorf("exit %d, %s%s", status, stdout, stderr)
	}
	if status, stdout, stderr := d.command("node", "set", "--match", "runmode=lab", "--runmode", "prod", "--yes"); status != 0 || stdout != "changed 3 nodes\n" {
		t.Errorf("exit %d, %s%s", status, stdout, stderr)
	}
	if _, stdout, _ := d.command("status"); strings.Contains(stdout, "lab") {
		t.Errorf("status of moved nodes:\n%s", stdout)
	}
	for _, args := range [][]string{{"node", "list", "--runmode", "lab"}, {"node", "set", "--match", "runmode=lab", "--runmode", "prod"}} {
		if status, _, stderr := d.command(args...); status != exitRefused || !strings.Contains(stderr, `unknown run mode "lab": accepted are prod, test, dev, qa`) {
			t.Errorf("%q when no node has it: exit %d, %s", args, status, stderr)
		}
	}
}

// TestKernelOfOtherProcessors: whether a node's kernel is for its machine is known once that was seen.
func TestKernelOfOtherProcessors(t *testing.T) {
	d := startDaemon(t)
	file := filepath.Join(t.TempDir(), "x64.efi")
	if err := os.WriteFile(file, []byte(kerneltest.EFI("x64")), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(platform, arch, want string) {
		t.Helper()
		d.get(script + "?platform=" + platform + "&arch=" + arch)
		d.until("a check that says: "+want, func() bool {
			status, stdout, _ := d.command("node", "check", "52:54:00:00:00:01")
			return status == 0 && strings.Contains(stdout, "warning: kernel x64.efi is for x64 machines: a machine of "+want) == (want != "")
		})
	}
	for _, args := range [][]string{{"kernel", "add", file}, {"node", "add", "52:54:00:00:00:01", "--kernel", "x64.efi"}} {
		if status, _, stderr := d.command(args...); status != 0 || stderr != "" {
			t.Errorf("%q: exit %d, %s", args, status, stderr)
		}
	}
	check("efi", "arm64", "UEFI arm64 fetches it, and stops there")
	if _, _, stderr := d.command("node", "set", "52:54:00:00:00:01", "--name", "n"); !strings.Contains(stderr, "a machine of UEFI arm64") {
		t.Errorf("node set: %s", stderr)
	}
	check("pcbios", "i386", "")
	check("efi", "x86_64", "")
}

// TestSecondDaemon: one with the state folder of another is told that, and not that a port is in use.
func TestSecondDaemon(t *testing.T) {
	d := startDaemon(t)
	status, _, stderr := d.command("serve")
	if want := "farmboot: another farmboot runs with state folder " + d.state + " already: stop it first, or give this one another\n"; status != exitRefused || stderr != want {
		t.Errorf("exit %d, %q, want %q", status, stderr, want)
	}
}

// TestEmptySecret: who starts a daemon whose OpenID client has no secret in its file is told.
func TestEmptySecret(t *testing.T) {
	d := startDaemonAs(t, "farmboot", func(d *daemon) {
		secret := filepath.Join(d.state, "secret")
		if err := os.WriteFile(secret, []byte("\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		d.configure(fmt.Sprintf("openid.issuer = 'https://id.example.org'\nopenid.client-id = 'x'\nopenid.admins = ['a']\nopenid.client-secret-file = %q", secret))
	})
	d.says("openid.client-secret-file: "+filepath.Join(d.state, "secret")+" is empty", 1)
}

// TestNobodyWatchesByItself: a daemon that nobody looks at follows no events, so that they
// are stored once a second; yet its metrics know of boots.
func TestNobodyWatchesByItself(t *testing.T) {
	d := startDaemon(t)
	const kernel = "farmboot_boots_total{outcome=\"started\"}"
	if _, text := d.get("/metrics"); !strings.Contains(text, "\nfarmboot_event_subscribers 0\n") || !strings.Contains(text, "\n"+kernel+" 0\n") {
		t.Errorf("after the start:\n%s", text)
	}
	d.get(script)
	d.get("/kernel/net/prod.efi?mac=52:54:00:00:00:01")
	if _, text := d.get("/metrics"); !strings.Contains(text, "\n"+kernel+" 1\n") {
		t.Errorf("after a boot:\n%s", text)
	}
}

// TestCommandsAreUpToDate: a command, another process, tells what nodes have just done.
func TestCommandsAreUpToDate(t *testing.T) {
	d := startDaemon(t)
	for i := range 20 {
		mac := fmt.Sprintf("52:54:00:00:01:%02x", i)
		if status, text := d.get("/provision/" + mac); status != 200 {
			t.Fatal(text)
		}
		if status, out, stderr := d.command("events", "--mac", mac); status != 0 || !strings.Contains(out, mac) {
			t.Fatalf("events --mac %s: %d %q %s", mac, status, out, stderr)
		}
	}
}

// TestHealth: what is taken away from under a running daemon is noticed and said, and
// nothing is written where it would be lost.
func TestHealth(t *testing.T) {
	d := startDaemon(t)
	d.health(200, "ok")
	if status, _, stderr := d.command("node", "add", "52:54:00:00:00:01", "--farmer", "7"); status != 0 {
		t.Fatal(stderr)
	}
	d.get(script) // now it is known
	status, stdout, stderr := d.command("status")
	if status != 0 || stderr != "" || !strings.Contains(stdout, fmt.Sprintf(":%d", d.port)) || !strings.Contains(stdout, "the daemon works") || !strings.Contains(stdout, "run mode test") {
		t.Errorf("exit %d, %s\n%s", status, stderr, stdout)
	}
	var s daemonStatus
	if status, stdout, stderr = d.command("status", "--json"); status != 0 || json.Unmarshal([]byte(stdout), &s) != nil || !s.Running || len(s.Listeners) != 3 || s.ConfigDiffers {
		t.Errorf("exit %d, %s\n%s", status, stderr, stdout)
	}

	d.remove("kernel")
	d.health(503, "kernel folder")
	d.addKernel()
	d.health(200, "ok")

	d.remove("provisioning.db")
	d.health(503, "was deleted")
	if status, _, stderr := d.command("node", "add", "52:54:00:00:00:02"); status != exitRefused || !strings.Contains(stderr, "was deleted") {
		t.Errorf("a node that would be lost: exit %d, %s", status, stderr)
	}
	if _, err := os.Stat(filepath.Join(d.state, "provisioning.db")); err == nil {
		t.Error("a command made a new database beside the daemon")
	}
	if _, text := d.get(script); !strings.Contains(text, "farmer_id=7") {
		t.Errorf("script without the file:\n%s", text)
	}

	d.remove("")
	d.says("admin socket was gone, and was made anew", 1)
	d.until("status", func() bool {
		_, stdout, _ := d.command("status")
		return strings.Contains(stdout, "PROBLEM database file")
	})
	d.remove("")
	d.says("admin socket was gone, and was made anew", 2)
}

// TestDatabaseWrittenOver: the same file, with something else in it. What is registered
// is known for as long as the daemon runs; after a restart nodes get the default.
func TestDatabaseWrittenOver(t *testing.T) {
	for name, content := range map[string]struct {
		bytes []byte
		says  string
	}{
		"emptied": {nil, "was emptied"},
		"zeroed":  {make([]byte, 64<<10), "is damaged or not a SQLite file"},
	} {
		t.Run(name, func(t *testing.T) {
			d := startDaemon(t)
			if status, _, stderr := d.command("node", "add", "52:54:00:00:00:01", "--farmer", "7"); status != 0 {
				t.Fatal(stderr)
			}
			d.get(script) // now it is known
			if err := os.WriteFile(filepath.Join(d.state, "provisioning.db"), content.bytes, 0o600); err != nil {
				t.Fatal(err)
			}
			d.health(503, content.says)
			if _, text := d.get(script); !strings.Contains(text, "runmode=prod") {
				t.Errorf("script:\n%s", text)
			}
			if status, _, stderr := d.command("node", "add", "52:54:00:00:00:02"); status != exitRefused || stderr == "" {
				t.Errorf("a node that would be lost: exit %d, %s", status, stderr)
			}
		})
	}
}

// TestQueue: as many nodes as may always fetch their kernels do, and do not get on. The
// next one waits; its place is told by status, the API, metrics and its story. When the
// others have gone, it boots.
func TestQueue(t *testing.T) {
	d := startDaemonWith(t, func(state string) {
		if err := os.Truncate(filepath.Join(state, "kernel/net/prod.efi"), 16<<20); err != nil {
			t.Fatal(err)
		}
	})
	ipxe := func(path string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", d.port, path), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User-Agent", "iPXE/1.21.1")
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	read := func(r *http.Response) string {
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var stuck []io.Closer
	for i := range 16 {
		mac := fmt.Sprintf("52:54:00:00:01:%02x", i)
		if text := read(ipxe("/provision/" + mac)); !strings.Contains(text, "imgfetch") {
			t.Fatalf("node %d has to wait:\n%s", i, text)
		}
		stuck = append(stuck, ipxe("/kernel/net/prod.efi?mac="+mac).Body) // nobody reads it
	}
	const waits = "52:54:00:00:00:01"
	if text := read(ipxe("/provision/" + waits + "?also=")); !strings.Contains(text, "place ....... 1 of 1") {
		t.Fatalf("it does not wait:\n%s", text)
	}
	if _, stdout, _ := d.command("status"); !strings.Contains(stdout, "1 wait for their kernels") || !strings.Contains(stdout, "16 are under way, at most 16 at once") {
		t.Errorf("status:\n%s", stdout)
	}
	var s daemonStatus
	if _, stdout, _ := d.command("status", "--json"); json.Unmarshal([]byte(stdout), &s) != nil || s.Queue == nil || s.Queue.Waiting != 1 || s.Queue.Downloads != 16 {
		t.Errorf("status:\n%s", stdout)
	}
	if _, text := d.get("/metrics"); !strings.Contains(text, "farmboot_kernel_waiting_nodes 1\n") || !strings.Contains(text, "farmboot_kernel_downloads 16\n") {
		t.Error("metrics do not tell of it")
	}
	d.until("its story says that it waits", func() bool {
		_, stdout, _ := d.command("node", "show", waits)
		return strings.Contains(stdout, "It waits for its turn to fetch its kernel: place 1 of 1")
	})
	for _, s := range stuck {
		s.Close()
	}
	if text := read(ipxe("/provision/" + waits + "?waits=1&also=")); !strings.Contains(text, "imgfetch") {
		t.Errorf("it does not boot:\n%s", text)
	}
	if _, stdout, _ := d.command("status"); strings.Contains(stdout, "queue") {
		t.Errorf("status:\n%s", stdout)
	}
}

// TestDamagedDatabase: 2 KiB of noise every 12 KiB. The daemon starts, nodes get what
// they got last, or the default, and everybody is told.
func TestDamagedDatabase(t *testing.T) {
	d := startDaemon(t)
	var csv strings.Builder
	csv.WriteString("mac,farmer\n")
	for i := range 2000 {
		fmt.Fprintf(&csv, "52:54:00:01:%02x:%02x,9\n", i>>8, i&0xff)
	}
	list := filepath.Join(t.TempDir(), "nodes.csv")
	if err := os.WriteFile(list, []byte(csv.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := d.command("node", "import", list); status != 0 {
		t.Fatal(stderr)
	}
	d.health(200, "ok")
	name := filepath.Join(d.state, "provisioning.db")
	damage := func(name string) {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(12 << 10); at < info.Size(); at += 12 << 10 {
			if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5, 0x17}, 1<<10), at); err != nil {
				t.Fatal(err)
			}
		}
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if status, _, stderr := d.command("backup", copied); status != 0 {
		t.Fatal(stderr)
	}
	damage(copied)
	text, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	other := startDaemonWith(t, func(state string) {
		if err := os.WriteFile(filepath.Join(state, filepath.Base(name)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	other.health(503, "restore")
	other.says("something does not work", 1)
	for i := range 40 {
		status, text := other.get(fmt.Sprintf("/provision/52:54:00:01:00:%02x", i))
		if status != 200 || !strings.Contains(text, "runmode=prod") {
			t.Fatalf("node %d gets %d:\n%s", i, status, text)
		}
	}
}
