package catalog_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"farmboot/ipxe/binary/authenticode"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/image"
	"farmboot/ipxe/segment"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
	"farmboot/setup/ca"
	"farmboot/setup/needs"
)

// secure switches Secure Boot on, and returns the key that signs.
func secure(t testing.TB, c *catalog.Catalog) ca.SigningKey {
	t.Helper()
	shims, err := c.Template().Shims()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ca.OpenSigning(t.TempDir(), time.Now).Keys()
	if err != nil {
		t.Fatal(err)
	}
	signer := authenticode.NewSigner(authenticode.Key{Private: keys[0].Private, Cert: keys[0].Cert})
	chain := image.NewChain(shims, keys[0].Cert.Raw, signer.Sign)
	c.Chain = func() *image.Chain { return chain }
	return keys[0]
}

// trusts tells whether firmware that trusts the key starts a program.
func trusts(t testing.TB, f catalog.File, key ca.SigningKey) bool {
	t.Helper()
	p, err := authenticode.Parse(f.Content, f.Content.Size())
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	return p.Verify(key.Cert) == nil
}

func TestSignedChain(t *testing.T) {
	c := open(t, needs.Template(t))
	for _, name := range []string{filenames.Shim, filenames.SecondStage, filenames.MokManager, filenames.Certificate} {
		if _, err := c.Program(name, netip.Addr{}); provisioning.ErrorCode(err) != provisioning.NotFound {
			t.Errorf("%s, though Secure Boot is off: %v", name, err)
		}
	}
	key := secure(t, c)
	etags := map[string]string{}
	for _, folder := range []string{"", filenames.SNPFolder} {
		for _, name := range []string{filenames.Shim, filenames.SecondStage, filenames.MokManager, filenames.Certificate} {
			f, err := c.Program(folder+name, second)
			if err != nil {
				t.Fatal(err)
			}
			again, err := c.Program(folder+name, second)
			if err != nil || again.ETag != f.ETag || again.Content.SHA256() != f.Content.SHA256() {
				t.Errorf("%s is another file the second time: %v", f.Name, err)
			}
			if other, ok := etags[f.ETag]; ok && (other != name || name == filenames.SecondStage) {
				t.Errorf("%s%s has the entity tag of %s", folder, name, other)
			}
			etags[f.ETag] = name
			if name == filenames.SecondStage && (!trusts(t, f, key) || !bytes.Contains(f.Script, []byte("http://198.51.100.1/provision/"))) {
				t.Errorf("%s is not signed, or without the LAN's script", f.Name)
			}
			if name == filenames.Certificate && !bytes.Equal(f.Content.Bytes(), key.Cert.Raw) {
				t.Error("another certificate")
			}
		}
	}
	for _, name := range []string{"snp/ipxe.efi", "snp/", "snp/snp/grubx64.efi", "fbx64.efi", "revocations_sku.efi"} {
		if _, err := c.Program(name, netip.Addr{}); provisioning.ErrorCode(err) != provisioning.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]bool{"revocations_sku.efi": true, "snp/revocations_sbat.efi": true, "shim_certificate_0.efi": true, "grubx64.efi": false, "": false} {
		if catalog.Probed(name) != want {
			t.Errorf("Probed(%q) = %v", name, !want)
		}
	}
}

// TestDisks: the disks that nodes are enrolled from hold what they are for.
func TestDisks(t *testing.T) {
	c := open(t, needs.Template(t))
	key := secure(t, c)
	f, err := c.Program(filenames.EnrolDisk, second)
	if err != nil {
		t.Fatal(err)
	}
	if f.ContentType != "application/vnd.efi-img" || !bytes.Contains(f.Script, []byte("http://198.51.100.1/provision/")) {
		t.Errorf("%s is %s, with the script\n%s", f.Name, f.ContentType, f.Script)
	}
	shims, err := c.Template().Shims()
	if err != nil {
		t.Fatal(err)
	}
	whole := f.Content.Bytes()
	for what, part := range map[string][]byte{"shim": shims.Shim, "MokManager": shims.MokManager, "our certificate": key.Cert.Raw} {
		if !bytes.Contains(whole, part) {
			t.Errorf("%s: %s is not in it", f.Name, what)
		}
	}
	if _, err := c.Program(filenames.KeyDisk, second); provisioning.ErrorCode(err) != provisioning.NotFound {
		t.Errorf("%s, though there is none: %v", filenames.KeyDisk, err)
	}
	chain := *c.Chain()
	chain.KeyDisk = segment.Of([]byte("keys"))
	c.Chain = func() *image.Chain { return &chain }
	if f, err := c.Program(filenames.KeyDisk, second); err != nil || string(f.Content.Bytes()) != "keys" {
		t.Errorf("%s: %v", filenames.KeyDisk, err)
	}
}

// TestSignedImages: what is for x64 is signed, all else the same as without.
func TestSignedImages(t *testing.T) {
	plain, signed := open(t, needs.Template(t)), open(t, needs.Template(t))
	key := secure(t, signed)
	other := open(t, needs.Template(t))
	secure(t, other) // with another key
	for _, o := range []struct {
		order catalog.Order
		want  string // "": nothing changes
	}{
		{catalog.Order{Kind: image.UEFI, Target: prod}, "program"},
		{catalog.Order{Kind: image.SNPOnly, Target: prod}, "program"},
		{catalog.Order{Kind: image.GenericUEFI}, "program"},
		{catalog.Order{Kind: image.ProvisionUEFI}, "program"},
		{catalog.Order{Kind: image.UEFIDisk, Target: prod}, "medium"},
		{catalog.Order{Kind: image.USB, Target: prod}, "medium"},
		{catalog.Order{Kind: image.ISO, Target: prod}, "medium"},
		{catalog.Order{Kind: image.UEFI, Target: prod, Options: image.Options{Arch: image.ARM64}}, ""},
		{catalog.Order{Kind: image.Kernel, Target: prod}, ""},
		{catalog.Order{Kind: image.ProvisionKrn}, ""},
		{catalog.Order{Kind: image.Script, Target: prod}, ""},
	} {
		before, err := plain.Image(o.order)
		if err != nil {
			t.Fatal(err)
		}
		f, err := signed.Image(o.order)
		if err != nil {
			t.Fatal(err)
		}
		if same := f.Content.SHA256() == before.Content.SHA256(); same != (o.want == "") || same != (f.ETag == before.ETag) {
			t.Errorf("%s: the same file: %v, the same entity tag: %v", o.order.Kind, same, f.ETag == before.ETag)
		}
		foreign, err := other.Image(o.order)
		if err != nil || (foreign.ETag == f.ETag) != (o.want == "") {
			t.Errorf("%s: another key, the same entity tag (%v)", o.order.Kind, err)
		}
		if o.want == "program" && !trusts(t, f, key) {
			t.Errorf("%s is not signed", o.order.Kind)
		}
		if o.want != "medium" {
			continue
		}
		whole := f.Content.Bytes()
		second, err := signed.Template().NBP(filenames.EFI, f.Script)
		if err != nil {
			t.Fatal(err)
		}
		shims, err := signed.Template().Shims()
		if err != nil {
			t.Fatal(err)
		}
		for what, part := range map[string][]byte{"shim": shims.Shim, "MokManager": shims.MokManager, "our certificate": key.Cert.Raw, "iPXE with the script": second.Bytes()[0x1000:]} {
			if !bytes.Contains(whole, part) {
				t.Errorf("%s: %s is not in it", o.order.Kind, what)
			}
		}
	}
}

// BenchmarkSigned measures what it costs to sign an image that nobody asked for before.
func BenchmarkSigned(b *testing.B) {
	c := open(b, needs.Template(b))
	secure(b, c)
	o := catalog.Order{Kind: image.USB, Target: prod}
	for b.Loop() {
		o.Target.Farmer++
		if _, err := c.Image(o); err != nil {
			b.Fatal(err)
		}
	}
}
