package pages

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

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
	media := p.media()
	kind := f.oneOf("format", media[0].Value, slices.Concat(media, files))
	page := downloadPage{
		frame: frame{Section: "download"}, form: f,
		Networks: networks(p.Kernels, site.RunModes, mode), Formats: checked(media, kind), Files: checked(files, kind),
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

// media are [formats] with what is true of them here.
func (p *Pages) media() []choice {
	if !p.SecureBoot {
		return formats
	}
	media := slices.Clone(formats)
	for i := range media {
		media[i].Text = strings.Replace(media[i].Text, editable, sealed, 1)
	}
	return media
}

// first is the first of what may be nothing.
func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
