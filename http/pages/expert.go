package pages

import (
	"net/http"
	"slices"

	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/image"
	"farmboot/ipxe/kernel"
)

// expertPage is /expert: everything that an order can say.
type expertPage struct {
	frame
	form
	Networks []choice
	Kernels  []choice
	Kinds    []choice
	Arches   []choice
	Schemes  []choice
	Report   *ipxe.Report // nil: the form has mistakes
	Product  *product     // nil: the form has mistakes
}

func (p *Pages) expert(w http.ResponseWriter, r *http.Request) error {
	site := p.Site(answer.LocalOf(r))
	kernels, err := kernelChoices(p.Kernels)
	if err != nil {
		return err
	}
	f := newForm(r.URL.Query())
	kinds := slices.Concat(formats, files)
	o := catalog.Order{
		Kind: image.Kind(f.oneOf("format", kinds[0].Value, kinds)),
		Target: ipxe.Target{
			RunMode: f.runMode(site.RunModes, first(site.RunModes.Keywords())),
			Farmer:  f.farmer("farmer"),
			Args:    f.Text("args"),
			Kernel:  f.oneOf("kernel", "", kernels),
		},
		Options: image.Options{Arch: image.Arch(f.oneOf("arch", architectures[0].Value, architectures))},
		Scheme:  f.oneOf("scheme", "", schemes),
		Local:   answer.LocalOf(r),
	}
	if err := ipxe.CheckArgs(o.Target.Args); err != nil {
		f.Errors["args"] = answer.PublicMessage(err)
	}
	page := expertPage{
		frame: frame{Section: "expert"}, form: f,
		Networks: networks(p.Kernels, site.RunModes, o.Target.RunMode), Kernels: checked(kernels, o.Target.Kernel),
		Kinds: checked(kinds, string(o.Kind)), Arches: checked(architectures, string(o.Options.Arch)), Schemes: checked(schemes, o.Scheme),
	}
	if len(f.Errors) == 0 {
		report := site.Check(o.Target)
		got, err := p.order(r, o, site)
		if err != nil {
			return err
		}
		page.Report, page.Product = &report, &got
	}
	return render(w, statusOf(f), "expert", page)
}

// kernelChoices are the kernels that an order or a node can name.
func kernelChoices(store *kernel.Store) ([]choice, error) {
	kernels, err := store.List()
	if err != nil {
		return nil, err
	}
	cs := []choice{{Value: "", Title: "The run mode's own"}}
	for _, k := range kernels {
		cs = append(cs, choice{Value: k.Name, Title: k.Name})
	}
	return cs, nil
}
