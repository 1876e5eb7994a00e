package pages

import (
	"net/http"
	"net/url"
	"slices"

	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/image"
)

// downloadPage is / and /generate. All of its state is in the query string, so
// that a link shows the same to everybody.
type downloadPage struct {
	frame
	form
	Networks []choice
	Formats  []choice
	Files    []choice
	Product  *product // nil: the form has mistakes
	Link     string   // to this page as it is
}

func (p *Pages) download(w http.ResponseWriter, r *http.Request) error {
	site := p.Site(answer.LocalOf(r))
	f := newForm(r.URL.Query())
	farmer := f.farmer("farmer")
	mode := f.runMode(site.RunModes, first(site.RunModes.Keywords()))
	kind := f.oneOf("format", formats[0].Value, slices.Concat(formats, files))
	page := downloadPage{
		frame: frame{Section: "download"}, form: f,
		Networks: networks(p.Kernels, site.RunModes, mode), Formats: checked(formats, kind), Files: checked(files, kind),
		Link: "/?" + url.Values{"farmer": {f.Text("farmer")}, "runmode": {string(mode)}, "format": {kind}}.Encode(),
	}
	if len(f.Errors) == 0 {
		got, err := p.order(r, catalog.Order{
			Kind: image.Kind(kind), Local: answer.LocalOf(r),
			Target: ipxe.Target{RunMode: mode, Farmer: farmer},
		}, site)
		if err != nil {
			return err
		}
		page.Product = &got
	}
	return render(w, statusOf(f), "download", page)
}

// first is the first of what may be nothing.
func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
