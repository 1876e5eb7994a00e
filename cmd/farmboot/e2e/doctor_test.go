//go:build e2e

package e2e_test

import (
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
	"slices"
	"strings"
	"testing"
	"time"

	"farmboot/setup/lab"
)

// verdict is what "farmboot doctor --json" prints.
type verdict struct {
	OK       bool `json:"ok"`
	Findings []struct{ Check, Level, What, Why, Mend string }
}

// wrong lists the findings that are not ok: "problem dhcp", each once.
func (v verdict) wrong() []string {
	var list []string
	for _, f := range v.Findings {
		if f.Level != "ok" {
			list = append(list, f.Level+" "+f.Check)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// doctor runs the doctor on the appliance's host.
func (a *appliance) doctor(t *testing.T) verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.bin, "doctor", "--json", "--config", filepath.Join(a.dir, "appliance.toml"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := a.host.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	var v verdict
	if e := json.Unmarshal(stdout.Bytes(), &v); e != nil {
		t.Fatalf("farmboot doctor: %v, %v: %s", err, e, stderr.Bytes())
	}
	exit, failed := errors.AsType[*exec.ExitError](err)
	if failed == v.OK || failed && exit.ExitCode() != 1 {
		t.Errorf("the doctor says ok: %v, and ends with %v", v.OK, err)
	}
	return v
}

// on runs a program of the system on a host.
func on(t *testing.T, h *lab.Host, program string, args ...string) {
	t.Helper()
	path, err := lab.Tool(program)
	if err != nil {
		t.Fatal(err)
	}
	err = h.Do(func() error {
		out, err := exec.Command(path, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// drop makes the host's firewall drop what comes in on the LAN and fits.
func drop(rule string) func(*testing.T, *lab.LAN, *appliance) {
	return func(t *testing.T, _ *lab.LAN, a *appliance) {
		on(t, a.host, "nft", "table inet filter { chain input { type filter hook input priority filter; policy accept; "+rule+" drop; }; }")
	}
}

// rival starts another PXE server on a host of its own.
func rival(options ...string) func(*testing.T, *lab.LAN, *appliance) {
	return func(t *testing.T, l *lab.LAN, _ *appliance) {
		h, err := l.Join(0)
		if err != nil {
			t.Fatal(err)
		}
		args := append([]string{"--conf-file=/dev/null", "--no-daemon", "--port=0", "--interface=" + lab.Interface, "--bind-interfaces", "--dhcp-range=10.77.0.0,proxy"}, options...)
		p, err := h.Start("rival.log", "dnsmasq", args...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if _, err := p.Expect(ctx, regexp.MustCompile(`DHCP, proxy`)); err != nil {
			t.Fatal(err)
		}
	}
}

// doctorLAN is a LAN of one kind, and what is right to say of it.
type doctorLAN struct {
	name    string
	lan     lab.Options
	site    settings
	arrange func(*testing.T, *lab.LAN, *appliance)
	want    []string // findings, but for what is true of every LAN here
	says    string   // a part of what, why and mend of all of them
	nodes   bool     // a real BIOS machine boots from us, which is tried each time
	// What real machines of these firmwares come to: they boot, or their screens show this;
	// "": not tried. TestStrainMachinesAgreeWithTheDoctor tries them.
	bios, uefi string
}

// What becomes of machines.
const (
	boots = "boots" // from us, to its kernel
	dies  = "dies"  // in its kernel, before that says anything

	started = `(?i:command line: )` // its kernel has
)

// timedOut ends what iPXE shows of a server that does not answer: in lines of 80
// characters, wherever those end.
var timedOut = `[^ ]*\s+` + strings.Join(strings.Split("Connection timed out", ""), `\s*`)

// doctorLANs are a healthy LAN, and ill ones.
func doctorLANs() []doctorLAN {
	return []doctorLAN{
		{name: "healthy", nodes: true, bios: boots, uefi: boots},
		{name: "no DHCP server", bios: `No configuration methods\s+succeeded`, uefi: `PXE-E16`, lan: lab.Options{NoDHCP: true}, want: []string{"problem dhcp"}, says: "no DHCP server offers addresses"},
		{name: "DHCP server that looks whether addresses are in use", bios: boots, lan: lab.Options{Ping: true}},
		{name: "slow DHCP server", bios: boots, uefi: boots, lan: lab.Options{DHCP: []string{"--dhcp-reply-delay=6"}}, want: []string{"warning dhcp"}, says: "was offered after 6 seconds"},
		{name: "DHCP server with option 60", bios: `tftp://10\.77\.0\.1/pxelinux\.0`, uefi: `PXE-E16`, lan: lab.Options{DHCP: []string{"--dhcp-option-force=60,PXEClient", "--dhcp-boot=pxelinux.0"}}, want: []string{"problem firmware", "problem pxe"}, says: "10.77.0.1 on lan0 says itself what to boot"},
		{name: "iPXE told to ignore us", bios: `Nothing to boot`, uefi: boots, lan: lab.Options{DHCP: []string{"--dhcp-option-force=175,b0:01:01"}}, want: []string{"problem dhcp", "problem firmware"}, says: "dhcp-option=175,b0:01:01"},
		{name: "second proxy without a menu", bios: `10\.77\.0\.3|` + started, uefi: `10\.77\.0\.3|` + started, arrange: rival("--pxe-service=x86PC,One,pxelinux", "--pxe-service=x86-64_EFI,One,x.efi"), want: []string{"problem firmware", "warning pxe"}, says: "another PXE server, 10.77.0.3"},
		{name: "second proxy with a menu", bios: `Choose|` + started, uefi: `Choose|` + started, arrange: rival("--pxe-prompt=Choose,60", "--pxe-service=x86PC,One,pxelinux", "--pxe-service=x86PC,Two,other", "--pxe-service=x86-64_EFI,One,x.efi", "--pxe-service=x86-64_EFI,Two,y.efi"), want: []string{"problem firmware", "warning pxe"}, says: "shows its menu"},
		{name: "port 67 filtered", bios: `Nothing to boot`, uefi: `PXE-E16`, arrange: drop("iifname lan0 udp dport 67"), want: []string{"problem firewall", "problem firmware"}, says: "for UDP port 67"},
		{name: "port 4011 filtered", bios: boots, uefi: `PXE-E\d\d`, arrange: drop("iifname lan0 udp dport 4011"), want: []string{"problem firewall"}, says: "for UDP port 4011"},
		{name: "port 69 filtered", bios: boots, uefi: `PXE-E\d\d`, arrange: drop("udp dport 69"), want: []string{"problem firewall", "warning tftp"}, says: "for UDP port 69"},
		{name: "port 80 filtered", bios: `10\.77\.0\.2/provision` + timedOut, arrange: drop("tcp dport 80"), want: []string{"problem firewall", "warning http"}, says: "for TCP port 80"},
		{name: "port 443 filtered", bios: boots, arrange: drop("iifname lan0 tcp dport 443"), want: []string{"problem firewall"}, says: "for TCP port 443"},
		{name: "port 68 filtered", nodes: true, bios: boots, arrange: drop("udp dport 68")},
		{name: "daemon dead", bios: `Nothing to boot`, arrange: func(t *testing.T, _ *lab.LAN, a *appliance) { a.daemon.Kill() }, want: []string{"problem daemon"}, says: "farmboot is not running"},
		{name: "no kernel for registered nodes", bios: `run mode qa has no kernel yet`, arrange: func(t *testing.T, _ *lab.LAN, a *appliance) {
			a.farmboot(t, "node", "add", "52:54:00:00:00:77", "--runmode", "qa")
		}, want: []string{"problem kernels"}, says: "run mode qa has no kernel yet"},
		{name: "half a kernel", bios: dies, uefi: `This machine cannot start that kernel`, arrange: func(t *testing.T, _ *lab.LAN, a *appliance) {
			whole, err := os.ReadFile(filepath.Join(a.kernels, "vmlinuz-amd64"))
			if err != nil {
				t.Fatal(err)
			}
			a.write(t, "state/kernel/vmlinuz-amd64", string(whole[:len(whole)/2]))
		}, want: []string{"problem kernels"}, says: "net/prod.efi is cut short"},
		{name: "address of another VLAN", bios: `192\.168\.99\.2/provision` + timedOut, arrange: func(t *testing.T, _ *lab.LAN, a *appliance) {
			change(t, a.host, "addr flush dev lan0", "addr add 192.168.99.2/24 brd + dev lan0")
			a.says(t, `network changed.*192\.168\.99\.2`)
		}, want: []string{"problem dhcp"}, says: "no route to 10.77.0.0/16"},
		{name: "no address", bios: `Nothing to boot`, arrange: func(t *testing.T, _ *lab.LAN, a *appliance) {
			change(t, a.host, "addr flush dev lan0")
			a.says(t, `has no IPv4 address`)
		}, want: []string{"problem interface", "problem ports"}, says: "has no IPv4 address"},
		{name: "base-host that nobody has", bios: `10\.77\.0\.99/provision` + timedOut, site: settings{baseHost: "http://10.77.0.99"}, want: []string{"problem base-host"}, says: "10.77.0.99"},
	}
}

// set sets the LAN up, with an appliance.
func (d doctorLAN) set(t *testing.T) (*lab.LAN, *appliance) {
	t.Helper()
	l := newLAN(t, d.lan)
	a := newAppliance(t, l, d.site)
	if d.arrange != nil {
		d.arrange(t, l, a)
	}
	return l, a
}

// TestDoctorOnManyLANs: the doctor says of each LAN what is wrong with it, and nothing
// else.
func TestDoctorOnManyLANs(t *testing.T) {
	for _, tt := range doctorLANs() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, a := tt.set(t)
			v := a.doctor(t)
			var wrong []string
			text := ""
			for _, f := range v.Findings {
				if f.Level != "ok" {
					text += fmt.Sprintln(f.Level, f.Check, f.What, f.Why, f.Mend)
				}
			}
			for _, w := range v.wrong() {
				// What is true here: no NTP client, a LAN of 65,534, run modes without a kernel.
				if !slices.Contains([]string{"warning clock", "warning neighbours", "warning kernels"}, w) {
					wrong = append(wrong, w)
				}
			}
			if !slices.Equal(wrong, tt.want) || !strings.Contains(text, tt.says) {
				t.Errorf("the doctor finds %q, want %q with %q:\n%s", wrong, tt.want, tt.says, text)
			}
			if again := a.doctor(t).wrong(); tt.lan.NoDHCP == false && !slices.Equal(again, v.wrong()) {
				t.Errorf("a second time it finds %q, the first %q", again, v.wrong())
			}
			if tt.nodes {
				powerOn(t, l, biosNode(mac(1))).boots(t, kernelArgs+" runmode=prod")
			}
		})
	}
}

// TestOtherBootServerIsTold: the daemon finds another PXE server by itself, and a program
// that takes alerts hears of it.
func TestOtherBootServerIsTold(t *testing.T) {
	t.Parallel()
	l := newLAN(t, lab.Options{})
	rival("--pxe-service=x86PC,One,pxelinux", "--pxe-service=x86-64_EFI,One,x.efi")(t, l, nil)
	person, err := l.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	var ln net.Listener
	if err := person.Do(func() (err error) {
		ln, err = new(net.ListenConfig).Listen(t.Context(), "tcp4", ":0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 100)
	server := &http.Server{ReadHeaderTimeout: limit, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- string(body)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	port := ln.Addr().(*net.TCPAddr).Port
	newAppliance(t, l, settings{extra: fmt.Sprintf("[alerts]\nurls = [%q]\n", fmt.Sprintf("webhook+http://%s:%d/", person.Addr(), port))})
	select {
	case body := <-got:
		for _, words := range []string{`"kind":"trouble"`, `"key":"boot server 10.77.0.2 lan0"`, "another PXE server, 10.77.0.2, answers on lan0 too: BIOS ", "stop it, unless it is an appliance"} {
			if !strings.Contains(body, words) {
				t.Errorf("told %s, want %q in it", body, words)
			}
		}
	case <-time.After(limit):
		t.Error("nobody is told")
	}
}
