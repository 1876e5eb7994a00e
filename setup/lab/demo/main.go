// Command demo shows the product work: on one machine, without touching its
// network, it boots a virtual machine with real firmware through the appliance,
// beside an ordinary DHCP server, and shows its console and who says what.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"farmboot/setup/lab"
)

const (
	// limit is for a very slow machine; a boot takes some 20 seconds.
	limit = 5 * time.Minute

	nodeMAC    = "52:54:00:00:00:b1"
	kernelArgs = "nomodeset version=v3 panic=7200 console=ttyS0"
)

func main() {
	firmware := flag.String("firmware", "bios", "what the machine wakes up with: bios or uefi")
	flag.Parse()
	if *firmware != "bios" && *firmware != "uefi" {
		fmt.Fprintf(os.Stderr, "demo: no firmware %q: accepted are bios and uefi\n", *firmware)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *firmware == "uefi", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run sets everything up, boots the machine and takes everything down.
func run(ctx context.Context, uefi bool, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("nothing booted in %v", limit))
	defer cancel()
	machine := lab.Machine{Name: "node", Firmware: lab.BIOS, NICs: []lab.NIC{{MAC: nodeMAC}}}
	if uefi {
		machine.Firmware, machine.NICs[0].NoROM = lab.UEFI, true
	}
	bin, err := filepath.Abs(env("FARMBOOT_BIN", "bin/farmboot"))
	if err != nil {
		return err
	}
	if err := errors.Join(
		lab.Needs("ip", "dnsmasq", "qemu-system-x86_64"),
		exists(bin, "make build"),
	); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "farmboot-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	config, err := configure(dir)
	if err != nil {
		return err
	}

	s := newStage(out)
	s.tell("A virtual LAN: a switch, the LAN's own DHCP server (%s), an appliance (%s) and", lab.ServerAddr, lab.FirstHost)
	s.tell("a diskless %s machine. Nobody has told the DHCP server about booting.", firmwareName(uefi))
	l, err := lab.New(lab.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	host, err := l.Join(0)
	if err != nil {
		return err
	}

	s.command("farmboot", "serve")
	started := time.Now()
	daemon, err := host.Start("appliance.log", bin, "serve", "--config", config)
	if err != nil {
		return err
	}
	if _, err := daemon.Expect(ctx, regexp.MustCompile(`\bready\b.*\n`)); err != nil {
		return err
	}
	s.say(appliance, "ready after %v", time.Since(started).Round(time.Millisecond))
	farmboot := func(args ...string) error {
		s.command(append([]string{"farmboot"}, args...)...)
		cmd := exec.CommandContext(ctx, bin, append(args, "--config", config)...)
		out := s.plain()
		defer out.flush()
		cmd.Stdout, cmd.Stderr = out, out
		if err := host.Do(cmd.Start); err != nil {
			return err
		}
		return cmd.Wait()
	}
	if err := farmboot("node", "add", nodeMAC, "--farmer", "1234", "--name", "demo"); err != nil {
		return err
	}

	s.tell("Somebody switches the machine on.")
	vm, err := l.PowerOn(machine)
	if err != nil {
		return err
	}
	if err := s.watch(ctx, l.DHCP(), daemon.Console, vm.Console); err != nil {
		return err
	}
	s.tell("The kernel runs, and says itself what it was given. On a node it would be Zero-OS;")
	s.tell("here it is Debian's, without a disk or anything else to do. The appliance remembers:")
	if err := farmboot("node", "show", nodeMAC); err != nil {
		return err
	}
	s.tell("All of it is switched off and gone now.")
	return nil
}

// configure writes the appliance's configuration and its kernel.
func configure(dir string) (config string, err error) {
	template := env("FARMBOOT_TEMPLATE", "/opt/ipxe-template")
	kernel := filepath.Join(env("FARMBOOT_TEST_KERNELS", "/var/cache/farmboot-test"), "vmlinuz-amd64")
	if err := errors.Join(exists(template, "make template"), exists(kernel, "make testkernels")); err != nil {
		return "", err
	}
	data, err := os.ReadFile(kernel)
	if err != nil {
		return "", err
	}
	net := filepath.Join(dir, "state", "kernel", "net")
	if err := os.MkdirAll(net, 0o755); err != nil {
		return "", err
	}
	for _, mode := range []string{"prod", "test", "dev", "qa"} {
		if err := os.WriteFile(filepath.Join(net, mode+".efi"), data, 0o644); err != nil {
			return "", err
		}
	}
	config = filepath.Join(dir, "appliance.toml")
	text := fmt.Sprintf("state = \"state\"\ndebug = true\n[network]\ninterface = %q\n[ipxe]\ntemplate = %q\n[boot]\nkernel-args = %q\n",
		lab.Interface, template, kernelArgs)
	return config, os.WriteFile(config, []byte(text), 0o644)
}

func exists(path, get string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w (%s)", err, get)
	}
	return nil
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func firmwareName(uefi bool) string {
	if uefi {
		return "UEFI"
	}
	return "BIOS"
}
