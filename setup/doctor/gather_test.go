package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"farmboot/ipxe/kernel"
	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/setup"
	"farmboot/setup/needs"
)

func TestPortTaken(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	me := strconv.Itoa(os.Getpid())
	for network, addr := range map[string]net.Addr{"udp": udp.LocalAddr(), "tcp": tcp.Addr()} {
		number := netip.MustParseAddrPort(addr.String()).Port()
		if err := tryPort(t.Context(), network, number, ""); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: tryPort gives %v", network, err)
		}
		if names := holders("/proc", network, number); len(names) != 1 || names[0].Process != me {
			t.Errorf("%s: held by %v, want this process, %s", network, names, me)
		}
	}
	if names := holders("/proc", "tcp", 1); names != nil {
		t.Errorf("TCP port 1 is held by %v", names)
	}
}

func TestAskHTTP(t *testing.T) {
	healthy := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" || !healthy {
			http.Error(w, "no", http.StatusTeapot)
		}
	}))
	addr := netip.MustParseAddrPort(server.Listener.Addr().String())
	if err := askHTTP(t.Context(), addr); err != nil {
		t.Errorf("healthy: %v", err)
	}
	healthy = false
	if err := askHTTP(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "418") {
		t.Errorf("another program: %v", err)
	}
	server.Close()
	if err := askHTTP(t.Context(), addr); err == nil {
		t.Error("nobody there: no error")
	}
}

func TestAskTFTP(t *testing.T) {
	for name, tt := range map[string]struct{ answer, err string }{
		"OACK":  {"\x00\x06tsize\x00109000\x00", ""},
		"DATA":  {"\x00\x03\x00\x01data", ""},
		"ERROR": {"\x00\x05\x00\x01file not found\x00", `it says "file not found"`},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var server sync.WaitGroup
			server.Go(func() {
				b := make([]byte, 512)
				n, peer, err := conn.ReadFrom(b)
				if err != nil || !strings.HasPrefix(string(b[:n]), "\x00\x01undionly.kpxe\x00octet\x00") {
					t.Errorf("request %q, error %v", b[:n], err)
					return
				}
				conn.WriteTo([]byte(tt.answer), peer)
				if tt.err == "" {
					if n, _, err := conn.ReadFrom(b); err != nil || b[1] != 5 {
						t.Errorf("the transfer was not ended: %q, %v", b[:n], err)
					}
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), answerLimit)
			defer cancel()
			err = askTFTP(ctx, netip.MustParseAddrPort(conn.LocalAddr().String()))
			server.Wait()
			if got := message(err); got != tt.err {
				t.Errorf("error %q, want %q", got, tt.err)
			}
		})
	}
}

// TestGetTFTP fetches from a server that sends an earlier block once more, and one that
// refuses.
func TestGetTFTP(t *testing.T) {
	block := func(n byte, data string) string { return "\x00\x03\x00" + string(n) + data }
	full := strings.Repeat("x", 512) // bytes of a block without options
	for name, tt := range map[string]struct {
		answers   []string // to the request and each ACK
		want, err string
	}{
		"two blocks":          {[]string{block(1, full), block(2, "end"), ""}, full + "end", ""},
		"an empty last one":   {[]string{block(1, full), block(2, ""), ""}, full, ""},
		"one that is doubled": {[]string{block(1, full), block(1, full), block(2, "end"), ""}, full + "end", ""},
		"options":             {[]string{"\x00\x06blksize\x00600\x00", block(1, full+full[:88]), block(2, "end"), ""}, full + full[:88] + "end", ""},
		"refused":             {[]string{"\x00\x05\x00\x01file not found\x00"}, "", "code: 1, message: file not found"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var server sync.WaitGroup
			server.Go(func() {
				b := make([]byte, 512)
				for _, answer := range tt.answers {
					_, peer, err := conn.ReadFrom(b)
					if err != nil {
						t.Error(err)
						return
					}
					if answer != "" {
						conn.WriteTo([]byte(answer), peer)
					}
				}
			})
			got, err := getTFTP(t.Context(), netip.MustParseAddrPort(conn.LocalAddr().String()), "f")
			server.Wait()
			if string(got) != tt.want || message(err) != tt.err {
				t.Errorf("got %d bytes, error %q", len(got), message(err))
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "not", "yet")} {
		if free, err := state(d); err != nil || free == 0 {
			t.Errorf("%s: %d bytes free, error %v", d, free, err)
		}
	}
	if _, err := state("/proc/sys"); err == nil {
		t.Error("/proc/sys can be written to")
	}
}

// TestClosed: what the owner of the state folder cannot use in it.
func TestClosed(t *testing.T) {
	needs.Root(t)
	const daemon = 4242
	real := filepath.Join(t.TempDir(), "private")
	if err := os.MkdirAll(filepath.Join(real, "kernel", "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(real, "ca"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		"ca/root.pem": 0o600, "kernel/readable.efi": 0o644, "kernel/group.efi": 0o640, "kernel/private.efi": 0o600,
		"p.db": 0o644, "p.db-wal": 0o644, "p.db.schema1": 0o644,
	} {
		if err := os.WriteFile(filepath.Join(real, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/shadow", filepath.Join(real, "link")); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "state")
	if err := os.Symlink(real, state); err != nil {
		t.Fatal(err)
	}
	if unreadable, unwritable := closed(state, "p.db"); unreadable != nil || unwritable != nil {
		t.Errorf("the folder is root's: %q, %q", unreadable, unwritable)
	}
	if err := errors.Join(os.Chown(real, daemon, daemon), os.Chown(filepath.Join(real, "kernel", "group.efi"), 0, daemon)); err != nil {
		t.Fatal(err)
	}
	unreadable, unwritable := closed(state, "p.db")
	short := strings.NewReplacer(real+"/", "")
	if got, want := short.Replace(strings.Join(unreadable, " ")), "ca ca/root.pem kernel/private.efi"; got != want {
		t.Errorf("unreadable are %q, want %q", got, want)
	}
	if got, want := short.Replace(strings.Join(unwritable, " ")), "kernel kernel/net p.db p.db-wal"; got != want {
		t.Errorf("unwritable are %q, want %q", got, want)
	}
	if unreadable, unwritable := closed(filepath.Join(state, "absent"), "p.db"); unreadable != nil || unwritable != nil {
		t.Errorf("no folder: %q, %q", unreadable, unwritable)
	}
}

func TestKernels(t *testing.T) {
	c := setup.Default()
	c.Kernel.Path = t.TempDir()
	c.Kernel.NetPath = filepath.Join(c.Kernel.Path, "net")
	store := kernel.Open(c.Kernel.Path, c.Kernel.NetPath)
	if got, _, err := kernels(t.Context(), c, store, nil); err != nil || len(got) != 4 {
		t.Errorf("no kernel yet: %v, %v; want all run modes", got, err)
	}
	if err := os.Mkdir(c.Kernel.NetPath, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Kernel.NetPath, "prod.efi"), []byte(kerneltest.EFI("prod")), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Kernel.Path, "half.efi"), []byte(kerneltest.EFI("half"))[:300], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../former.efi", filepath.Join(c.Kernel.NetPath, "qa.efi")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("v2.efi", filepath.Join(c.Kernel.Path, "latest.efi")); err != nil {
		t.Fatal(err)
	}
	got, named, err := kernels(t.Context(), c, store, map[string]int{"half.efi": 1, "none.efi": 2, "latest.efi": 1})
	if gone, none := cause.Lack(got["qa"]), cause.Lack(got["dev"]); gone != "boots former.efi, which is gone" || none != "has no kernel yet" {
		t.Errorf("qa, whose kernel is gone: %s; dev, which has none: %s", gone, none)
	}
	if want := "dev qa test"; err != nil || strings.Join(slices.Sorted(maps.Keys(got)), " ") != want {
		t.Errorf("without a kernel are %v, error %v; want %q", got, err, want)
	}
	if modes := uefiOnly(c, store, got); !slices.Equal(modes, []string{"prod"}) {
		t.Errorf("BIOS machines do not start the kernels of %q, want prod", modes)
	}
	if err := os.WriteFile(filepath.Join(c.Kernel.NetPath, "prod.efi"), []byte(kerneltest.BzImage("prod")), 0o644); err != nil {
		t.Fatal(err)
	}
	if modes := uefiOnly(c, store, got); modes != nil {
		t.Errorf("BIOS machines do not start the kernels of %q, which are bzImages", modes)
	}
	if len(named) != 3 || cause.Lack(named["none.efi"]) != "is not here" || cause.Lack(named["latest.efi"]) != "stands for v2.efi, which is gone" || !strings.Contains(fmt.Sprint(named["half.efi"]), "is cut short") {
		t.Errorf("kernels that nodes name: %v", named)
	}
}

// has is an upstream with some kernels.
type has []string

func (h has) Has(_ context.Context, rel string) error {
	switch {
	case slices.Contains(h, rel):
		return nil
	case rel == "net/qa.efi":
		return errors.New("nobody answers")
	}
	return provisioning.Errorf(provisioning.NotFound, "no %s", rel)
}

func (has) Heard(string) (bool, error) { return false, nil }

func (has) Take(context.Context, string) error { return errors.New("the doctor takes nothing") }

// TestKernelsOfUpstream: what upstream has, nodes boot.
func TestKernelsOfUpstream(t *testing.T) {
	c := setup.Default()
	c.Kernel.Path = t.TempDir()
	c.Kernel.NetPath = filepath.Join(c.Kernel.Path, "net")
	store := kernel.Open(c.Kernel.Path, c.Kernel.NetPath)
	store.SetUpstream(has{"net/prod.efi", "net/test.efi", "own.efi"})
	modes, named, err := kernels(t.Context(), c, store, map[string]int{"own.efi": 1})
	if err != nil || len(modes) != 2 || !cause.NoneYet(modes["dev"]) || !strings.Contains(fmt.Sprint(modes["qa"]), "nobody answers") || len(named) != 0 {
		t.Errorf("%v, %v, %v", modes, named, err)
	}
}
