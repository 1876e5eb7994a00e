package catalog

import (
	"net/netip"

	"farmboot/ipxe"
	"farmboot/ipxe/image"
	"farmboot/provisioning"
)

// Order says which image is wanted.
type Order struct {
	Kind    image.Kind
	Target  ipxe.Target // for kinds that need one, see [image.Kind.NeedsTarget]
	Options image.Options
	// Scheme is how the image's script fetches: "http", "https" (with our
	// certificate authority, which every image trusts), or "" for what the
	// configuration says.
	Scheme string
}

// Image composes what was ordered. Refusals are [provisioning.Error]s: those of
// [ipxe.Composer.Cmdline], NotFound for a kernel that is not there, those of
// [image.Composer.Compose].
func (c *Catalog) Image(o Order) (File, error) {
	script, err := c.Script(o)
	if err != nil {
		return File{}, err
	}
	composer := image.Composer{Template: c.Template}
	content, err := composer.Compose(o.Kind, script, o.Options)
	if err != nil {
		return File{}, err
	}
	return File{
		Name:        o.Kind.FileName(o.Options, o.Target.RunMode, o.Target.Farmer),
		ContentType: o.Kind.ContentType(),
		ETag:        composer.ETag(o.Kind, script, o.Options),
		Content:     content,
	}, nil
}

// Script returns the script inside an image; nil for kinds that have none.
// Refusals are those of [Catalog.Image].
func (c *Catalog) Script(o Order) ([]byte, error) {
	if o.Scheme != "" && o.Scheme != "http" && o.Scheme != "https" {
		return nil, provisioning.Errorf(provisioning.Invalid, "bad scheme %.20q: accepted are http and https", o.Scheme)
	}
	if err := o.Options.Check(o.Kind); err != nil {
		return nil, err
	}
	site := c.Site(netip.Addr{}, o.Scheme)
	switch {
	case o.Kind.NeedsTarget():
		script, err := site.Boot(o.Target)
		if err != nil {
			return nil, err
		}
		if _, err := c.Kernels.Stat(o.Target.KernelPath()); err != nil {
			return nil, err
		}
		return script, nil
	case o.Kind.HasScript():
		return site.Provision()
	}
	return nil, nil
}
