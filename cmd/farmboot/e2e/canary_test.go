//go:build e2e

package e2e_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"farmboot/setup/lab"
)

// TestCanaryThatCrashes: a kernel is tried on one node, crashes there again and again, and
// is taken back by itself. That node boots what it booted before, at its next boot; the
// rest of the farm never gets the kernel.
func TestCanaryThatCrashes(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	file, err := os.ReadFile(filepath.Join(a.kernels, "vmlinuz-amd64"))
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "state/kernel/bad.efi", string(file)+"another build")
	tried, other := mac(1), mac(2)
	for _, m := range []string{tried, other} {
		a.farmboot(t, "node", "add", m, "--args", "panic=1") // it has no root file system, and panics
	}
	a.farmboot(t, "kernel", "use", "prod", "bad.efi", "--canary", tried)

	machine := biosNode(tried)
	machine.Reboots = true
	n := powerOn(t, l, machine)
	for range 3 {
		n.sees(t, `kernel candidate bad\.efi`)
		n.sees(t, `/kernel/bad\.efi`)
		n.sees(t, `Kernel panic`)
	}
	a.says(t, `a candidate is taken back.* runmode=prod kernel=bad\.efi`)
	n.sees(t, `/kernel/net/prod\.efi`)
	n.sees(t, `(?i)command line: `)

	t.Run("the rest", func(t *testing.T) {
		powerOn(t, l, biosNode(other)).boots(t, kernelArgs+" runmode=prod panic=1")
	})
	if events := a.farmboot(t, "events", "--mac", other); strings.Contains(events, "bad.efi") {
		t.Errorf("another node got the candidate:\n%s", events)
	}
	history := a.farmboot(t, "kernel", "history", "prod")
	for _, line := range []string{`(?m)^prod +vmlinuz-amd64 `, `(?m)^prod +bad\.efi \(candidate\) .* [3-5] +[0-9a-f]{12}\n +was tried on 1 node until .*: ended by canary$`} {
		if !regexp.MustCompile(line).MatchString(history) {
			t.Errorf("no line %s:\n%s", line, history)
		}
	}
	if h := a.farmboot(t, "history", "--subject", "canary prod"); !strings.Contains(h, "kernel taken back") {
		t.Errorf("nobody can tell why:\n%s", h)
	}
}

// TestCanaryThatIsPromoted: a kernel is tried on one node, whose system asks for an
// address: it is up. Ten minutes without another netboot prove the kernel, and the canary
// ends by itself: all nodes get it. Those minutes pass at once, while the daemon is down:
// what has happened is moved back in its database.
func TestCanaryThatIsPromoted(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	kernel := read(t, a.kernels, "system-amd64.efi")
	a.write(t, "state/kernel/next.efi", kernel)
	tried, other := mac(1), mac(2)
	for _, m := range []string{tried, other} {
		a.farmboot(t, "node", "add", m)
	}
	a.farmboot(t, "kernel", "use", "prod", "next.efi", "--canary", tried)

	n := powerOn(t, l, uefiNode(tried))
	n.sees(t, `kernel candidate next\.efi`)
	n.sees(t, `the system has the address (\S+)`)
	if !becomesSo(t, func() bool { return strings.Contains(a.farmboot(t, "node", "show", tried), "It is up") }) {
		t.Fatalf("it is not seen that it is up:\n%s", a.farmboot(t, "node", "show", tried))
	}
	n.leased(t)
	const minute = 60_000
	for _, minutes := range []int{9, 2} {
		if h := a.farmboot(t, "kernel", "history", "prod"); !strings.Contains(h, "next.efi (candidate)") || !strings.Contains(h, "is tried on 1 node") {
			t.Fatalf("promoted before its ten minutes were over:\n%s", h)
		}
		if err := a.daemon.Stop(); err != nil {
			t.Fatal(err)
		}
		on(t, a.host, "sqlite3", filepath.Join(a.dir, "state/provisioning.db"),
			fmt.Sprintf("UPDATE boots SET began = began - %d, ended = ended - %[1]d; UPDATE changes SET at = at - %[1]d;", minutes*minute))
		a.start(t)
	}
	a.says(t, `a candidate is promoted.* runmode=prod kernel=next\.efi proven=1 failures=0`)

	fetch := func(path string) string {
		body := a.get(t, a.host, path)
		defer body.Close()
		return readAll(t, body)
	}
	if script := fetch("/provision/" + other); !strings.Contains(script, "/kernel/net/prod.efi") || strings.Contains(script, "candidate") {
		t.Errorf("the rest of the farm gets\n%s", script)
	}
	if fetch("/kernel/net/prod.efi") != kernel {
		t.Error("prod does not boot it")
	}
	board := a.signIn(t)
	for _, seen := range []struct{ what, text, want string }{
		{"events", a.farmboot(t, "events", "--mac", tried), `(?m)\bup\b`},
		{"history", a.farmboot(t, "history", "--subject", "canary prod"), `canary +appliance +canary prod +kernel promote`},
		{"kernel history", a.farmboot(t, "kernel", "history", "prod"), `(?s)^\S[^\n]*\nprod +next\.efi [^\n]* canary [^\n]*\nprod +vmlinuz-amd64 `},
		{"the board", board("/admin"), `(?s)id="node-525400000001".*<span>Up, kernel `},
		{"its page of kernels", board("/admin/kernels"), `(?s)value="prod">.*<option value="next\.efi" selected>.*Back to vmlinuz-amd64`},
		{"the API", board("/api/v1/kernels/net/prod"), `^{"runmode":"prod","generations":\[{[^}]*"kernel":"next\.efi",[^}]*"by":"canary",`},
	} {
		if !regexp.MustCompile(seen.want).MatchString(seen.text) {
			t.Errorf("%s, want %s:\n%s", seen.what, seen.want, seen.text)
		}
	}
}

// signIn signs in to the board, and returns what gets its pages.
func (a *appliance) signIn(t *testing.T) func(path string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := a.client()
	client.Jar = jar
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the pages are what we look at
	do := func(method, path string, form url.Values) string {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+a.host.Addr().String()+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text := readAll(t, res.Body)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s: %s", method, path, res.Status, text)
		}
		return text
	}
	do(http.MethodPost, "/admin/signin", url.Values{"token": {strings.TrimSpace(a.farmboot(t, "token", "add", "--role", "admin"))}})
	return func(path string) string { return do(http.MethodGet, path, nil) }
}

// readAll reads all there is.
func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
