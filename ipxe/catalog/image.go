package catalog

import (
	"net/netip"
	"net/url"
	"strings"

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
	// Local is the address of ours that it was ordered at: the image fetches from
	// there, unless the configuration names a base-host. Zero: from the first LAN's.
	Local netip.Addr
}

// URL returns the path and query that this order has below our base, wherever that
// is. Trailing arguments that say nothing are left out.
func (o Order) URL() string {
	elems := []string{string(o.Kind)}
	if o.Kind.NeedsTarget() {
		farmer := ""
		if o.Target.Farmer != 0 {
			farmer = o.Target.Farmer.String()
		}
		for _, e := range []string{string(o.Target.RunMode), farmer, o.Target.Args, o.Target.Kernel} {
			elems = append(elems, url.PathEscape(e))
		}
	}
	query := url.Values{}
	if a := o.Options.Arch; a != "" && a != image.AMD64 { // what one gets without asking
		query.Set("arch", string(o.Options.Arch))
	}
	if o.Scheme != "" {
		query.Set("scheme", o.Scheme)
	}
	u := "/" + strings.TrimRight(strings.Join(elems, "/"), "/")
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	return u
}

// Image composes what was ordered. Refusals are [provisioning.Error]s: those of
// [ipxe.Composer.Cmdline], NotFound for a kernel that is not there, those of
// [image.Kind.Recipe] and [image.Recipe.Compose].
func (c *Catalog) Image(o Order) (File, error) {
	if o.Scheme != "" && o.Scheme != "http" && o.Scheme != "https" {
		return File{}, provisioning.Errorf(provisioning.Invalid, "bad scheme %.20q: accepted are http and https", o.Scheme)
	}
	recipe, err := o.Kind.Recipe(o.Options)
	if err != nil {
		return File{}, err
	}
	recipe.Chain = c.chain()
	f := File{Name: o.Kind.FileName(o.Options, o.Target.RunMode, o.Target.Farmer), ContentType: o.Kind.ContentType()}
	return f.compose(c.Template(), recipe, func() ([]byte, error) { return c.script(o) })
}

// script renders the script inside an image.
func (c *Catalog) script(o Order) ([]byte, error) {
	site := c.Site(o.Local, o.Scheme)
	if !o.Kind.NeedsTarget() {
		return site.Provision()
	}
	if _, err := site.Bootable(o.Target, c.Kernels.WithUpstream()); err != nil {
		return nil, err
	}
	return site.Boot(o.Target)
}
