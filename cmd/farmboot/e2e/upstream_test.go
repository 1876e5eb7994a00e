//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"farmboot/setup/lab"
)

// TestUpstream: appliances in a chain. A brand-new one, of which only the upstream is
// configured, boots nodes at once, though the kernel comes in at 20 Mbit/s; it is killed
// while it takes the next kernel, and boots the one of yesterday; started again with its
// upstream there, it goes on and takes it.
func TestUpstream(t *testing.T) {
	l := newLAN(t, lab.Options{})
	const quiet = "[dhcp]\nenabled = false\n"
	from := func(a *appliance) string {
		return fmt.Sprintf("[kernel]\nupstream = %q\n", "http://"+a.host.Addr().String())
	}
	hub := newAppliance(t, l, settings{name: "hub", extra: quiet})
	on(t, hub.host, "tc", "qdisc", "add", "dev", lab.Interface, "root", "tbf", "rate", "20mbit", "burst", "64k", "latency", "400ms")
	middle := newAppliance(t, l, settings{name: "middle", bare: true, extra: quiet + from(hub)})
	farm := newAppliance(t, l, settings{name: "farm", bare: true, extra: from(middle)})
	t.Run("brand-new", func(t *testing.T) {
		for name, machine := range map[string]lab.Machine{"BIOS": biosNode(mac(1)), "UEFI": uefiNode(mac(2))} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				powerOn(t, l, machine).boots(t, kernelArgs+" runmode=prod")
			})
		}
	})

	const next = "next build"
	hub.write(t, "state/kernel/next.efi", read(t, hub.kernels, "vmlinuz-amd64")+next)
	hub.farmboot(t, "kernel", "use", "prod", "next.efi")
	middle.farmboot(t, "kernel", "sync") // as slow as the hub
	on(t, middle.host, "tc", "qdisc", "add", "dev", lab.Interface, "root", "tbf", "rate", "10mbit", "burst", "64k", "latency", "400ms")
	sync, err := farm.host.Start("sync.log", farm.bin, "kernel", "sync", "--config", farm.dir+"/appliance.toml")
	if err != nil {
		t.Fatal(err)
	}
	if !becomesSo(t, func() bool { return farm.incoming(t) > 0 }) {
		t.Fatalf("no kernel comes in: %s", sync.Tail(5))
	}
	sync.Kill()
	farm.daemon.Kill()
	if strings.HasSuffix(read(t, farm.dir, "state/kernel/net/prod.efi"), next) {
		t.Fatal("it was killed too late")
	}
	middle.daemon.Kill()
	farm.start(t)
	t.Run("upstream gone", func(t *testing.T) {
		powerOn(t, l, biosNode(mac(3))).boots(t, kernelArgs+" runmode=prod")
	})
	middle.start(t)
	farm.farmboot(t, "kernel", "sync")
	if !strings.HasSuffix(read(t, farm.dir, "state/kernel/net/prod.efi"), next) {
		t.Error("it did not go on to the next kernel")
	}
}

// incoming tells how much of a kernel has come in that is being received.
func (a *appliance) incoming(t *testing.T) (size int64) {
	t.Helper()
	parts, err := filepath.Glob(filepath.Join(a.dir, "state/kernel/.new-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if fi, err := os.Stat(p); err == nil {
			size += fi.Size()
		}
	}
	return size
}

// becomesSo waits until something holds, as soon as it should.
func becomesSo(t *testing.T, holds func() bool) bool {
	t.Helper()
	return becomesSoIn(t, soon, holds)
}

// becomesSoIn waits until something holds, within a time.
func becomesSoIn(t *testing.T, within time.Duration, holds func() bool) bool {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(within); !holds(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
