//go:build e2e

package ipxe

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"farmboot/provisioning"
)

// hostile is text that would end a script, or do more than be shown.
const hostile = `--name -n && reboot || shell ; exit ${net0/mac} 'a "b # c \`

// TestScriptsRun runs every script in the real iPXE, on a machine without a network: each
// must come to where it gives up or asks again, whatever people have typed.
func TestScriptsRun(t *testing.T) {
	site := testSite()
	site.RunModes = provisioning.RunModes{"prod": hostile}
	node := provisioning.Node{MAC: testMAC, Farmer: 1, RunMode: "prod", Args: "--x -n a='|| b'", Name: hostile}
	near := site
	near.Literal = "http://192.168.1.10"
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// So that a line of it begins with --name.
	reason := strings.Repeat("x", 70) + " --name " + hostile + " " + strings.Repeat("y", 200)
	for name, run := range map[string]struct {
		script []byte
		comes  []string // to be seen on the screen, in this order
	}{
		"provision":   {must(site.Provision()), []string{"this machine boots from the network", "This machine shows no network card", "Press s for a shell"}},
		"boot":        {must(site.Boot(Target{RunMode: "prod", Farmer: 1, Args: "--x"})), []string{"(--name -n '&&' reboot", "This machine shows no network card", "Press s for a shell"}},
		"node":        {must(script(site, provisioning.Assignment{Registered: true, Node: node})), []string{"52:54:00:00:00:b1 --name -n '&&' reboot '||' shell", "Fetching the kernel", "That did not work", "try 2 of 5"}},
		"hold":        {must(site.Hold(testMAC, "K7MC3X")), []string{"claim code .. K7MC3X", "Asking again in 5 s", "Asking again in 5 s"}},
		"hold-square": {must(near.Hold(testMAC, "K7MC3X")), []string{"claim code .. K7MC3X", "http://192.168.1.10/K7MC3X", "Asking again in 5 s"}},
		"refused":     {must(site.Refused(node, reason)), []string{"this node cannot be booted yet", "--name --name -n '&&' reboot '||' shell", "yyyy", "Asking again in 15 seconds", "Asking again in 15 seconds"}},
		"exit":        {must(site.Exit(provisioning.Assignment{Node: provisioning.Node{MAC: testMAC}})), []string{"goes on to its next boot device", "farmboot node add 52:54:00:00:00:b1"}},
		"exit-node":   {must(site.Exit(provisioning.Assignment{Registered: true, Node: node})), []string{"this node goes on to its next boot device", "52:54:00:00:00:b1 --name -n '&&' reboot", "farmboot node set 52:54:00:00:00:b1 --no-exit"}},
		"exit-once":   {must(site.Exit(provisioning.Assignment{Registered: true, Once: true, Node: node})), []string{"this node goes on to its next boot device, this once", "52:54:00:00:00:b1 --name -n '&&' reboot"}},
	} {
		t.Run(name, func(t *testing.T) {
			screen := runScript(t, run.script, run.comes)
			if want := missing(screen, run.comes); want != "" {
				t.Errorf("%q does not come; the screen:\n%s", want, screen)
			}
		})
	}
}

// TestSquareIsRead: another program reads the QR code off the screen, of BIOS and UEFI.
func TestSquareIsRead(t *testing.T) {
	site := testSite()
	site.Literal = "http://192.168.1.10"
	script, err := site.Hold(testMAC, "K7MC3X")
	if err != nil {
		t.Fatal(err)
	}
	// As it stands while the appliance lets it wait: here is none to do that.
	screen, _, _ := bytes.Cut(script, []byte("\nset failures"))
	script = append(screen, "\nsleep 3600\n"...)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "autoexec.ipxe"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	template := cmp.Or(os.Getenv("FARMBOOT_TEMPLATE"), "/opt/ipxe-template")
	program, err := os.ReadFile(filepath.Join(template, "ipxe.efi"))
	if err != nil {
		t.Fatal(err)
	}
	stick := filepath.Join(dir, "stick", "EFI", "BOOT")
	if err := os.MkdirAll(stick, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"BOOTX64.EFI": program, "autoexec.ipxe": script} {
		if err := os.WriteFile(filepath.Join(stick, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, args := range map[string][]string{
		"BIOS": {"-kernel", filepath.Join(template, "ipxe.lkrn"), "-initrd", filepath.Join(dir, "autoexec.ipxe")},
		"UEFI": {"-bios", "/usr/share/ovmf/OVMF.fd", "-drive", "format=raw,if=virtio,file=fat:rw:" + filepath.Join(dir, "stick")},
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := readScreen(t, args), "HTTP://3232235786/K7MC3X"; got != want {
				t.Errorf("%q is read, want %q", got, want)
			}
		})
	}
}

// readScreen starts a machine and looks at its screen until a QR code can be read there.
func readScreen(t *testing.T, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{
		"-machine", "pc,accel=tcg", "-m", "256", "-vga", "std", "-display", "none", "-no-reboot", "-nic", "none", "-monitor", "stdio",
	}, args...)...)
	monitor, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }() // it is killed
	screen := filepath.Join(t.TempDir(), "screen.ppm")
	prompts := bufio.NewReader(answers)
	for {
		if _, err := fmt.Fprintf(monitor, "screendump %s\n", screen); err != nil {
			t.Fatal(err)
		}
		// The monitor says "(qemu)" when it is ready, and echoes what it is told before.
		if _, err := prompts.ReadString(')'); err != nil {
			t.Fatalf("nothing on the screen can be read as a QR code: %v", err)
		}
		if read, err := exec.CommandContext(ctx, "zbarimg", "-q", "--raw", screen).Output(); err == nil {
			return strings.TrimSpace(string(read))
		}
	}
}

// escapes are what a terminal acts on.
var escapes = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)

// runScript runs a script in iPXE until all of that has come, and returns the screen.
func runScript(t *testing.T, script []byte, comes []string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.ipxe")
	if err := os.WriteFile(file, script, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	template := cmp.Or(os.Getenv("FARMBOOT_TEMPLATE"), "/opt/ipxe-template")
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-machine", "pc,accel=tcg,graphics=off", "-m", "256", "-display", "none", "-no-reboot",
		"-nic", "none", "-serial", "stdio", "-kernel", filepath.Join(template, "ipxe.lkrn"), "-initrd", file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var screen strings.Builder
	part := make([]byte, 4096)
	for {
		n, err := out.Read(part)
		screen.Write(part[:n])
		if missing(escapes.ReplaceAllString(screen.String(), ""), comes) == "" {
			cancel()
		}
		if err != nil {
			break
		}
	}
	_ = cmd.Wait() // it was killed
	return escapes.ReplaceAllString(screen.String(), "")
}

// missing returns the first of those texts that is not on the screen behind the others;
// "" if none is.
func missing(screen string, comes []string) string {
	for _, want := range comes {
		var found bool
		if _, screen, found = strings.Cut(screen, want); !found {
			return want
		}
	}
	return ""
}
