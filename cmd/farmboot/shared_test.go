package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/postgres"
	"farmboot/provisioning/postgres/postgrestest"
)

// TestTwoAppliancesShare: two appliances share a PostgreSQL database for nodes, and take
// their kernels from one upstream, a plain web server; they share no disk. Both give each
// node the same, the kernel that is tried on some too. One is killed: the other goes on,
// proves the kernel and promotes it, once; the first one boots it when it is back.
func TestTwoAppliancesShare(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	server.Create(t, "farm")
	files := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		file := filepath.Join(files, "kernel", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v1, v2 := kerneltest.EFI("v1"), kerneltest.EFI("v2")
	put("net/prod.efi", v1)
	put("v2.efi", v2)
	up := httptest.NewServer(http.FileServer(http.Dir(files)))
	t.Cleanup(up.Close)
	appliance := func() *daemon {
		d := startDaemonAs(t, "farmboot-hasty", func(d *daemon) {
			d.remove("kernel")
			d.configure(fmt.Sprintf("provisioning.database = %q\nkernel.upstream = %q\nkernel.refresh = \"24h\"", server.URL("farm"), up.URL))
		})
		d.says("took a kernel from upstream", 1)
		return d
	}
	a, b := appliance(), appliance()
	const nodes = 24
	for n := range byte(nodes) {
		a.do("node", "add", nodeMAC(n), "--args", fmt.Sprintf("rack=%d", n))
	}
	a.do("kernel", "use", "prod", "v2.efi", "--canary", "30%")
	var tries []byte
	for n := range byte(nodes) {
		_, here := a.fetch(n, "/provision/"+nodeMAC(n))
		_, there := b.fetch(n, "/provision/"+nodeMAC(n))
		if here = strings.ReplaceAll(here, fmt.Sprint(":", a.port), fmt.Sprint(":", b.port)); here != there || !strings.Contains(here, fmt.Sprintf("rack=%d", n)) {
			t.Errorf("node %d gets of the one\n%s\nand of the other\n%s", n, here, there)
		}
		if strings.Contains(there, "/kernel/v2.efi") {
			tries = append(tries, n)
		}
	}
	if len(tries) == 0 || len(tries) == nodes {
		t.Fatalf("%d of %d nodes try it", len(tries), nodes)
	}

	a.kill()
	for n := range byte(nodes) {
		b.boots(n)
	}
	if status, text := b.get("/kernel/v2.efi"); status != http.StatusOK || text != v2 {
		t.Errorf("the other one has v2.efi: status %d, %d bytes", status, len(text))
	}
	// That they are up is heard by DHCP, which is off here.
	store, err := postgres.Open(t.Context(), server.URL("farm"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	events := func() (list []provisioning.Event) {
		for _, n := range tries {
			mac, err := provisioning.ParseMAC(nodeMAC(n))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, provisioning.Event{At: time.Now(), MAC: mac, Stage: provisioning.StageUp})
		}
		return list
	}()
	b.until("the boots are stored", func() bool {
		kernels := make(map[provisioning.MAC]bool)
		all, err := store.Events(t.Context(), provisioning.EventQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if e.Stage == provisioning.StageKernel && e.File == "v2.efi" && !e.MAC.IsZero() { // our own look has none
				kernels[e.MAC] = true
			}
		}
		return len(kernels) == len(tries)
	})
	if err := store.Update(t.Context(), func(tx provisioning.Tx) error { return boots.AddEvents(t.Context(), tx, events) }); err != nil {
		t.Fatal(err)
	}
	b.says("a candidate is promoted", 1)
	boots := func(d *daemon) string {
		_, text := d.get("/kernel/net/prod.efi")
		return text
	}
	if boots(b) != v2 {
		t.Error("the other one does not boot what it has promoted")
	}

	a.launch()
	a.says("msg=ready", 2)
	defer func() {
		if t.Failed() {
			t.Log(b.do("history"))
		}
	}()
	a.until("the first one boots what was promoted", func() bool { return boots(a) == v2 })
	for n := range byte(nodes) {
		a.boots(n)
	}
	if history := b.do("history", "--subject", "canary prod"); strings.Count(history, "kernel promote") != 1 {
		t.Errorf("promoted more or less than once:\n%s", history)
	}
}
