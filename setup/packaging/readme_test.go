//go:build packages

package packaging

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"farmboot/setup/lab"
)

// setUpLimit bounds what make does before the daemon runs: it gets Go, and compiles SQLite.
const setUpLimit = 30 * time.Minute

// TestReadme follows the README's first line on fresh systems: in a clone, with nothing
// but what a clone takes, "make run" brings Go, compiler and template, and runs an
// appliance that a machine boots from.
func TestReadme(t *testing.T) {
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		suite string
		node  lab.Machine
	}{
		{"bookworm", lab.Machine{Name: "node", Firmware: lab.UEFI, NICs: []lab.NIC{{MAC: "52:54:00:00:13:08"}}}},
		{"trixie", lab.Machine{Name: "node", Firmware: lab.BIOS, NICs: []lab.NIC{{MAC: "52:54:00:00:13:09"}}}},
	} {
		t.Run(c.suite, func(t *testing.T) {
			s := newSystem(t, c.suite)
			s.apt(t, "update")
			s.apt(t, "install", "--no-install-recommends", "ca-certificates", "git", "make", "sudo")
			output(t, "git", "clone", "--quiet", repository, filepath.Join(s.root, "root/farmboot"))

			run, err := s.host.Start("make-run.log", "nsenter", "--target", s.init, "--mount", "--uts", "--ipc", "--net", "--pid", "--",
				"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "HTTPS_PROXY=http://"+s.proxy,
				"SSL_CERT_FILE="+s.put(t, "/etc/ssl/certs/ca-certificates.crt", "trusted.crt"), // what this machine trusts
				"make", "-C", "/root/farmboot", "run")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), setUpLimit)
			defer cancel()
			if _, err := run.Expect(ctx, regexp.MustCompile(`\bmsg=ready\b`)); err != nil {
				t.Fatal(err)
			}
			farmboot := func(args ...string) {
				t.Helper()
				s.must(t, "/root/farmboot/bin/farmboot", append(args, "--config", "/root/farmboot/appliance.toml")...)
			}
			farmboot("kernel", "add", s.put(t, testKernel(), "zos.efi"))
			farmboot("kernel", "use", "prod", "zos.efi")
			farmboot("node", "add", c.node.NICs[0].MAC, "--farmer", "1234", "--args", "console=ttyS0")
			farmboot("doctor")
			bootsNode(t, s.lan, c.node, func() string { return run.Tail(40) })
			if changed := s.must(t, "git", "-C", "/root/farmboot", "status", "--porcelain"); strings.TrimSpace(changed) != "" {
				t.Errorf("make run leaves in the clone:\n%s", changed)
			}
			s.must(t, "sh", "-c", `for p in /proc/[0-9]*; do [ "$(cat $p/comm)" != farmboot ] || kill ${p#/proc/}; done`)
			select {
			case <-run.Done():
			case <-ctx.Done():
				t.Error("make run does not end with the daemon")
			}
		})
	}
}
