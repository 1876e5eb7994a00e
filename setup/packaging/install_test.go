//go:build packages

package packaging

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"farmboot/setup/lab"
)

// dist is where "make package" left packages of the version that it was told.
func dist(t *testing.T, name string) string {
	t.Helper()
	version := os.Getenv("VERSION")
	if version == "" {
		t.Fatal("VERSION says which packages to test: run make package-test")
	}
	file, err := filepath.Abs(filepath.Join("../../dist", strings.ReplaceAll(name, "VERSION", version)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("%v: run make package", err)
	}
	return file
}

// testKernel is a Linux kernel that nodes can boot.
func testKernel() string {
	return filepath.Join(cmp.Or(os.Getenv("FARMBOOT_TEST_KERNELS"), "/var/cache/farmboot-test"), "vmlinuz-amd64")
}

// formerDeb makes a package of a lower version, whose configuration file was another.
func formerDeb(t *testing.T, deb string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "deb")
	output(t, "dpkg-deb", "--raw-extract", deb, dir)
	control := filepath.Join(dir, "DEBIAN/control")
	text, err := os.ReadFile(control)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^Version: .*$`).ReplaceAll(text, []byte("Version: 0.0.1"))
	if err := os.WriteFile(control, text, 0o644); err != nil {
		t.Fatal(err)
	}
	toml := filepath.Join(dir, "etc/farmboot/appliance.toml")
	if text, err = os.ReadFile(toml); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(toml, append(text, "\n# as version 0.0.1 had it\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	former := filepath.Join(t.TempDir(), "farmboot_0.0.1_amd64.deb")
	output(t, "dpkg-deb", "--root-owner-group", "--build", dir, former)
	return former
}

// TestDeb takes the deb through its life on fresh systems: installed, used by a node,
// upgraded, removed, purged.
func TestDeb(t *testing.T) {
	for _, c := range []struct {
		suite string
		node  lab.Machine
	}{
		{"bookworm", lab.Machine{Name: "node", Firmware: lab.BIOS, NICs: []lab.NIC{{MAC: "52:54:00:00:13:01"}}}},
		{"trixie", lab.Machine{Name: "node", Firmware: lab.UEFI, NICs: []lab.NIC{{MAC: "52:54:00:00:13:02", NoROM: true}}}},
	} {
		t.Run(c.suite, func(t *testing.T) {
			s := newSystem(t, c.suite)
			deb := dist(t, "farmboot_VERSION_amd64.deb")
			s.apt(t, "update")
			s.apt(t, "install", "ssl-cert") // which brings what nothing removes again
			before := s.files(t)

			s.apt(t, "install", s.put(t, formerDeb(t, deb), "farmboot_0.0.1_amd64.deb"))
			s.runs(t)
			if got := s.must(t, "systemctl", "is-enabled", "farmboot"); got != "enabled\n" {
				t.Errorf("the unit is %q", got)
			}
			if out, err := s.run("farmboot", "doctor"); err == nil || !strings.Contains(out, "kernel") {
				t.Errorf("without a kernel the doctor says (%v):\n%s", err, out)
			}
			s.must(t, "farmboot", "kernel", "add", s.put(t, testKernel(), "zos.efi"))
			s.must(t, "farmboot", "kernel", "use", "prod", "zos.efi")
			if out, err := s.run("farmboot", "doctor"); err != nil {
				t.Errorf("with a kernel the doctor says (%v):\n%s", err, out)
			}
			s.security(t)
			s.prefersNodes(t)
			s.takesOwnKey(t)
			s.namesItsScript(t)

			mac := c.node.NICs[0].MAC
			s.must(t, "farmboot", "node", "add", mac, "--farmer", "1234", "--name", "kept", "--args", "console=ttyS0")
			s.must(t, "sed", "-i", `s/^unknown = "boot"/unknown = "hold"/`, "/etc/farmboot/appliance.toml")
			edited := s.must(t, "cat", "/etc/farmboot/appliance.toml")
			if !strings.Contains(edited, `unknown = "hold"`) {
				t.Fatal("appliance.toml has no unknown = \"boot\" to change")
			}
			was := s.must(t, "systemctl", "show", "--property=MainPID", "farmboot")
			s.apt(t, "-o", "Dpkg::Options::=--force-confold", "install", s.put(t, deb, filepath.Base(deb)))
			s.runs(t)
			if now := s.must(t, "systemctl", "show", "--property=MainPID", "farmboot"); now == was {
				t.Errorf("the former daemon still runs after the upgrade: %s", now)
			}
			if got := s.must(t, "dpkg-query", "--show", "--showformat=${Version}", "farmboot"); got != os.Getenv("VERSION") {
				t.Errorf("after the upgrade the version is %s", got)
			}
			if got := s.must(t, "cat", "/etc/farmboot/appliance.toml"); got != edited {
				t.Errorf("the upgrade changed appliance.toml, which the administrator had edited:\n%s", got)
			}
			s.boots(t, c.node)

			s.apt(t, "remove", "farmboot")
			if out, err := s.run("systemctl", "is-active", "farmboot"); err == nil {
				t.Errorf("removed, the service is %s", out)
			}
			s.must(t, "test", "-e", "/etc/farmboot/appliance.toml")
			s.must(t, "test", "-e", "/var/lib/farmboot/provisioning.db")
			s.apt(t, "purge", "--autoremove", "farmboot")
			after := s.files(t)
			maps.DeleteFunc(after, func(name string, _ bool) bool { return before[name] })
			if left := slices.Sorted(maps.Keys(after)); len(left) > 0 {
				t.Errorf("a purge leaves:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

// takesOwnKey gives the service a certificate of one's own as the manual says: its user has to
// be able to read the key. Then all is as before.
func (s *system) takesOwnKey(t *testing.T) {
	t.Helper()
	const folder, config = "/etc/farmboot/tls", "/etc/farmboot/appliance.toml"
	before := s.must(t, "cat", config)
	s.must(t, "mkdir", folder)
	s.must(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=boot", "-addext", "subjectAltName=DNS:boot.example.org",
		"-keyout", folder+"/key.pem", "-out", folder+"/cert.pem")
	s.must(t, "sed", "-i", "s|^tls-cert = .*|tls-cert = \""+folder+"/cert.pem\"|; s|^tls-key = .*|tls-key = \""+folder+"/key.pem\"|", config)
	s.must(t, "chgrp", "ssl-cert", folder+"/key.pem")
	s.must(t, "chmod", "640", folder+"/key.pem")
	if out, err := s.run("systemctl", "restart", "farmboot"); err == nil {
		t.Errorf("a user in no group reads the key: %s", out)
	}
	s.must(t, "mkdir", "-p", "/etc/systemd/system/farmboot.service.d")
	s.write(t, "/etc/systemd/system/farmboot.service.d/override.conf", "[Service]\nSupplementaryGroups=ssl-cert\n")
	s.must(t, "systemctl", "daemon-reload")
	s.must(t, "systemctl", "restart", "farmboot")
	s.runs(t)
	s.must(t, "rm", "-r", "/etc/systemd/system/farmboot.service.d", folder)
	s.write(t, config, before)
	s.must(t, "systemctl", "daemon-reload")
	s.must(t, "systemctl", "restart", "farmboot")
	s.runs(t)
}

// namesItsScript looks at what the doctor says where a boot program is gone: it has to name the
// script that is there, and that script has to bring the program back.
func (s *system) namesItsScript(t *testing.T) {
	t.Helper()
	const template, script = "/opt/ipxe-template", "/usr/share/farmboot/template.sh"
	s.must(t, "rm", template+"/snponly.efi")
	if out, _ := s.run("farmboot", "doctor"); !strings.Contains(out, "run "+script+" "+template) {
		t.Errorf("without snponly.efi the doctor says:\n%s", out)
	}
	s.must(t, script, template)
	s.must(t, "test", "-s", template+"/snponly.efi")
}

// TestRPM takes the rpm through its life on a system with systemd and rpm. Debian is
// what there is; its rpm knows nothing of the packages that dpkg has.
func TestRPM(t *testing.T) {
	s := newSystem(t, "trixie")
	s.apt(t, "update")
	s.apt(t, "install", "--no-install-recommends", "rpm", "ipxe")
	rpm := s.put(t, dist(t, "farmboot_VERSION_amd64.rpm"), "farmboot.rpm")
	if got := s.must(t, "rpm", "--query", "--package", "--configfiles", rpm); got != "/etc/farmboot/appliance.toml\n" {
		t.Errorf("configuration files: %q", got)
	}
	s.must(t, "rpm", "--checksig", rpm)
	before := s.files(t)
	s.must(t, "rpm", "--install", "--nodeps", rpm)
	s.runs(t)
	if got := s.must(t, "systemctl", "is-enabled", "farmboot"); got != "enabled\n" {
		t.Errorf("the unit is %q", got)
	}
	s.must(t, "farmboot", "kernel", "add", s.put(t, testKernel(), "zos.efi"))
	s.must(t, "farmboot", "kernel", "use", "prod", "zos.efi")
	s.must(t, "farmboot", "doctor")
	s.must(t, "farmboot", "node", "add", "52:54:00:00:13:03", "--farmer", "1234")
	s.must(t, "sed", "-i", `s/^unknown = "boot"/unknown = "hold"/`, "/etc/farmboot/appliance.toml")
	edited := s.must(t, "cat", "/etc/farmboot/appliance.toml")

	s.must(t, "rpm", "--upgrade", "--force", "--nodeps", rpm)
	s.runs(t)
	if got := s.must(t, "cat", "/etc/farmboot/appliance.toml"); got != edited {
		t.Errorf("the upgrade changed appliance.toml, which the administrator had edited:\n%s", got)
	}
	s.must(t, "farmboot", "node", "show", "52:54:00:00:13:03")

	s.must(t, "rpm", "--erase", "farmboot")
	if out, err := s.run("systemctl", "is-active", "farmboot"); err == nil {
		t.Errorf("removed, the service is %s", out)
	}
	after := s.files(t)
	for name := range after {
		// What the administrator and the nodes made stays: rpm knows no purge.
		kept := regexp.MustCompile(`^/(etc/farmboot|var/lib/(private/?)?(farmboot)?|opt/ipxe-template|var/lib/rpm)(/|$)`)
		if !before[name] && !kept.MatchString(name) {
			t.Errorf("removed, it leaves %s", name)
		}
	}
}

// runs checks that the service runs, and serves.
func (s *system) runs(t *testing.T) {
	t.Helper()
	if out, err := s.run("systemctl", "is-active", "farmboot"); err != nil {
		t.Fatalf("the service is %s%s", out, s.must(t, "journalctl", "--no-pager", "-u", "farmboot"))
	}
	var status struct {
		Listeners []struct{ Name string }
	}
	out := s.must(t, "farmboot", "status", "--json")
	if err := json.Unmarshal([]byte(out), &status); err != nil || len(status.Listeners) == 0 {
		t.Fatalf("status (%v): %s", err, out)
	}
}

// security checks that the unit may do little beyond its work, as systemd judges it.
func (s *system) security(t *testing.T) {
	t.Helper()
	out := s.must(t, "systemd-analyze", "--no-pager", "security", "farmboot.service")
	match := regexp.MustCompile(`exposure level for farmboot.service: ([0-9.]+)`).FindStringSubmatch(out)
	if match == nil {
		t.Fatalf("systemd-analyze security:\n%s", out)
	}
	if exposure, err := strconv.ParseFloat(match[1], 64); err != nil || exposure > 1.9 {
		t.Errorf("the unit's exposure is %s: at most 1.9 is wanted\n%s", match[1], out)
	}
}

// prefersNodes checks that the unit lets the daemon take less of the processor for storing
// boots: one of its threads is nice (proc_pid_stat(5), field 19).
func (s *system) prefersNodes(t *testing.T) {
	t.Helper()
	out := s.must(t, "sh", "-c", "cat /proc/$(systemctl show -P MainPID farmboot)/task/*/stat")
	if !regexp.MustCompile(`(?m)\) \S( \S+){15} 10 `).MatchString(out) {
		t.Errorf("no thread has a nice value of 10:\n%s", out)
	}
}

// boots switches a machine on that has to boot the kernel, with the arguments that
// `farmboot node add` gave it.
func (s *system) boots(t *testing.T, m lab.Machine) {
	t.Helper()
	bootsNode(t, s.lan, m, func() string { return s.must(t, "journalctl", "--no-pager", "-u", "farmboot") })
	await(t, "the story says that the kernel went out", func() error {
		_, err := s.run("sh", "-c", "farmboot node show "+m.NICs[0].MAC+" | grep 'fetched its kernel'")
		return err
	})
}

// bootsNode switches a machine on that has to boot its kernel, registered for the farmer
// 1234 with console=ttyS0, and off again. log is shown if it does not.
func bootsNode(t *testing.T, l *lab.LAN, m lab.Machine, log func() string) {
	t.Helper()
	vm, err := l.PowerOn(m)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := vm.Expect(ctx, regexp.MustCompile(`Command line: .*runmode=prod farmer_id=1234 console=ttyS0`)); err != nil {
		t.Fatalf("the node does not boot: %v\n%s", err, log())
	}
	if err := vm.PowerOff(); err != nil {
		t.Fatal(err)
	}
}
