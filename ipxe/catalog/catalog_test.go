package catalog_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"farmboot/ipxe"
	"farmboot/ipxe/binary"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/image"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
	"farmboot/setup/needs"
)

var second = netip.MustParseAddr("198.51.100.1")

// open returns a catalog over the template in dir, with one kernel, prod.efi.
func open(t testing.TB, dir string) *catalog.Catalog {
	t.Helper()
	kernels := t.TempDir()
	if err := os.WriteFile(filepath.Join(kernels, "prod.efi"), []byte("MZ"), 0o644); err != nil {
		t.Fatal(err)
	}
	return &catalog.Catalog{
		Template: sync.OnceValue(func() *binary.Template { return binary.Load(dir) }),
		Kernels:  kernel.Open(kernels, kernels),
		Site: func(local netip.Addr, scheme string) ipxe.Site {
			host := "192.0.2.1"
			if local == second {
				host = second.String()
			}
			if scheme == "" {
				scheme = "http"
			}
			return ipxe.Site{
				Composer: ipxe.Composer{KernelArgs: "version=v3", RunModes: provisioning.RunModes{"prod": "Production", "test": "Testing"}},
				Base:     scheme + "://" + host,
			}
		},
	}
}

var prod = ipxe.Target{RunMode: "prod", Farmer: 1234, Args: "zos-debug"}

func TestEveryKindIsComposed(t *testing.T) {
	c, again := open(t, needs.Template(t)), open(t, needs.Template(t))
	etags := map[string]image.Kind{}
	for _, kind := range image.Kinds() {
		o := catalog.Order{Kind: kind, Target: prod}
		f, err := c.Image(o)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		twin, err := again.Image(o)
		if err != nil || f.ETag != twin.ETag || f.Content.SHA256() != twin.Content.SHA256() {
			t.Errorf("%s: another catalog made other bytes (%v)", kind, err)
		}
		if f.ETag == "" || strings.HasPrefix(f.ETag, "W/") || f.Name == "" || f.Content.Size() == 0 {
			t.Errorf("%s: %+v", kind, f)
		}
		if other, ok := etags[f.ETag]; ok && (kind != image.USB || other != image.ISO) {
			t.Errorf("%s and %s have the same entity tag", kind, other)
		}
		etags[f.ETag] = kind
		if without := kind == image.GenericKernel || kind == image.GenericUEFI; without != (f.Script == nil) {
			t.Errorf("%s: script of %d bytes", kind, len(f.Script))
		}
		if kind.NeedsTarget() && !bytes.Contains(f.Script, []byte("runmode=prod farmer_id=1234 zos-debug")) {
			t.Errorf("%s: script without the command line:\n%s", kind, f.Script)
		}
	}
}

func TestImageForTheSecondLAN(t *testing.T) {
	c := open(t, needs.Template(t))
	o := catalog.Order{Kind: image.USB, Target: prod}
	first, err := c.Image(o)
	if err != nil {
		t.Fatal(err)
	}
	o.Local = second
	f, err := c.Image(o)
	if err != nil || f.ETag == first.ETag || !bytes.Contains(f.Script, []byte("http://198.51.100.1/kernel/")) {
		t.Errorf("%v\n%s", err, f.Script)
	}
}

func TestDescribe(t *testing.T) {
	c := open(t, needs.Template(t))
	for _, kind := range image.Kinds() {
		o := catalog.Order{Kind: kind, Target: prod}
		f, err := c.Image(o)
		if err != nil {
			t.Fatal(err)
		}
		want := catalog.Download{
			URL: o.URL(), Name: f.Name, Size: f.Content.Size(), SHA256: fmt.Sprintf("%x", f.Content.SHA256()), Script: string(f.Script),
		}
		for _, time := range []string{"first", "second"} {
			if got, err := c.Describe(o); err != nil || got != want {
				t.Errorf("%s, the %s time: %+v, %v, want %+v", kind, time, got, err, want)
			}
		}
	}
	if _, err := c.Describe(catalog.Order{Kind: image.ISO, Target: ipxe.Target{RunMode: "nope"}}); provisioning.ErrorCode(err) != provisioning.NotFound {
		t.Errorf("unknown run mode: %v", err)
	}
}

// BenchmarkDescribe measures what a view of the download page costs.
func BenchmarkDescribe(b *testing.B) {
	c := open(b, needs.Template(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Describe(catalog.Order{Kind: image.USB, Target: prod}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRefusals(t *testing.T) {
	c := open(t, needs.Template(t))
	for _, tt := range []struct {
		order catalog.Order
		code  provisioning.Code
		says  string
	}{
		{catalog.Order{Kind: image.ISO, Target: ipxe.Target{RunMode: "nope"}}, provisioning.NotFound, "run mode"},
		{catalog.Order{Kind: image.ISO, Target: ipxe.Target{RunMode: "test"}}, provisioning.NotFound, "missing kernel net/test.efi"},
		{catalog.Order{Kind: image.ISO, Target: ipxe.Target{RunMode: "prod", Kernel: "../x"}}, provisioning.NotFound, "bad kernel name"},
		{catalog.Order{Kind: image.ISO, Target: ipxe.Target{RunMode: "prod", Args: "a\nb"}}, provisioning.Invalid, "control character"},
		{catalog.Order{Kind: image.ISO, Target: prod, Scheme: "ftp"}, provisioning.Invalid, "http and https"},
		{catalog.Order{Kind: image.UEFI, Target: prod, Options: image.Options{Arch: "mips"}}, provisioning.Invalid, "accepted are"},
		{catalog.Order{Kind: image.Kernel, Target: prod, Options: image.Options{Arch: image.ARM64}}, provisioning.Invalid, "accepted are"},
		{catalog.Order{Kind: "floppy", Target: prod}, provisioning.Invalid, "floppy"},
	} {
		_, err := c.Image(tt.order)
		if provisioning.ErrorCode(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v, want code %s saying %q", tt.order, err, tt.code, tt.says)
		}
	}
}

func TestOneBrokenFileStopsOnlyWhatNeedsIt(t *testing.T) {
	whole := needs.Template(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, filenames.SNPOnly), []byte("MZ, but no more"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	_, err := c.Image(catalog.Order{Kind: image.SNPOnly, Target: prod})
	if provisioning.ErrorCode(err) != provisioning.Unavailable || !strings.Contains(err.Error(), filenames.SNPOnly) {
		t.Errorf("broken file: %v", err)
	}
	if _, err := c.Image(catalog.Order{Kind: image.UEFI, Target: prod}); err != nil {
		t.Errorf("another file: %v", err)
	}
}

func TestProgram(t *testing.T) {
	c := open(t, needs.Template(t))
	for _, name := range []string{filenames.Undionly, filenames.EFI, filenames.SNPOnly, filenames.ARM64, filenames.RISCV64, filenames.Autoexec} {
		first, err := c.Program(name, netip.Addr{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		other, err := c.Program(name, second)
		if err != nil || other.ETag == first.ETag || other.Content.SHA256() == first.Content.SHA256() {
			t.Errorf("%s is the same for both LANs (%v)", name, err)
		}
	}
	script, err := c.Program(filenames.Autoexec, second)
	if err != nil || !bytes.Contains(script.Content.Bytes(), []byte("http://198.51.100.1/provision/")) {
		t.Errorf("script for the second LAN: %v\n%s", err, script.Content.Bytes())
	}
	for _, name := range []string{"", "ipxe.iso", "ipxe.lkrn", "../ipxe.efi", "pxelinux.0"} {
		if _, err := c.Program(name, netip.Addr{}); provisioning.ErrorCode(err) != provisioning.NotFound {
			t.Errorf("program %q: %v", name, err)
		}
	}
}

// TestAutoexec: with signed builds an EFI program stays as it is, byte for byte,
// and finds its script beside it; BIOS knows no such thing.
// TestProgramIsRemembered, as long as the template and our URL are the same.
func TestProgramIsRemembered(t *testing.T) {
	c := open(t, needs.Template(t))
	host, template := "192.0.2.1", c.Template()
	c.Template = func() *binary.Template { return template }
	c.Site = func(netip.Addr, string) ipxe.Site { return ipxe.Site{Base: "http://" + host} }
	program := func() catalog.File {
		t.Helper()
		f, err := c.Program(filenames.Undionly, netip.Addr{})
		if err != nil || !bytes.Contains(f.Script, []byte("http://"+host+"/")) {
			t.Fatalf("%v, script:\n%s", err, f.Script)
		}
		return f
	}
	first := program()
	if program().Content != first.Content {
		t.Error("it is composed twice")
	}
	host = "192.0.2.2"
	if program().Content == first.Content {
		t.Error("it is not composed for another URL")
	}
	host, template = "192.0.2.1", binary.Load(needs.Template(t))
	if f := program(); f.Content == first.Content || f.ETag != first.ETag {
		t.Error("it is not composed from another template, or differs")
	}
}

func TestAutoexec(t *testing.T) {
	dir := needs.Template(t)
	c := open(t, dir)
	c.Autoexec = true
	want, err := os.ReadFile(filepath.Join(dir, filenames.EFI))
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Program(filenames.EFI, netip.Addr{})
	if err != nil || !bytes.Equal(f.Content.Bytes(), want) {
		t.Errorf("the EFI program was changed (%v)", err)
	}
	if baked, err := open(t, dir).Program(filenames.EFI, netip.Addr{}); err != nil || baked.ETag == f.ETag {
		t.Errorf("other bytes, the same entity tag (%v)", err)
	}
	if f, err = c.Program(filenames.Undionly, netip.Addr{}); err != nil || !bytes.Contains(f.Content.Bytes(), []byte("/provision/")) {
		t.Errorf("the BIOS program has no script (%v)", err)
	}
}

func TestURL(t *testing.T) {
	for want, o := range map[string]catalog.Order{
		"/iso/prod":                         {Kind: image.ISO, Target: ipxe.Target{RunMode: "prod"}},
		"/iso/prod/1234":                    {Kind: image.ISO, Target: ipxe.Target{RunMode: "prod", Farmer: 1234}},
		"/usb/prod/1/a%20b%2Fc":             {Kind: image.USB, Target: ipxe.Target{RunMode: "prod", Farmer: 1, Args: "a b/c"}},
		"/usb/prod/1//k.efi":                {Kind: image.USB, Target: ipxe.Target{RunMode: "prod", Farmer: 1, Kernel: "k.efi"}},
		"/uefi/prod?arch=arm64&scheme=http": {Kind: image.UEFI, Target: ipxe.Target{RunMode: "prod"}, Options: image.Options{Arch: image.ARM64}, Scheme: "http"},
		"/uefi/prod":                        {Kind: image.UEFI, Target: ipxe.Target{RunMode: "prod"}, Options: image.Options{Arch: image.AMD64}},
		"/krn-generic":                      {Kind: image.GenericKernel, Target: prod},
	} {
		if got := o.URL(); got != want {
			t.Errorf("%+v: %s, want %s", o, got, want)
		}
		elems := strings.Split(strings.SplitN(want, "?", 2)[0], "/")[2:]
		if !o.Kind.NeedsTarget() {
			continue
		}
		if got, err := ipxe.ParseTarget(elems); err != nil || got != o.Target {
			t.Errorf("%s reads as %+v, %v", want, got, err)
		}
	}
}

func BenchmarkImage(b *testing.B) {
	c := open(b, needs.Template(b))
	for _, kind := range image.Kinds() {
		b.Run(string(kind), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Image(catalog.Order{Kind: kind, Target: prod}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
