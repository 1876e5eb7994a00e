package http

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/image"
	"farmboot/provisioning"
)

// imageRoutes adds the download endpoints.
func (b *Boot) imageRoutes(r *mux.Router) {
	for _, kind := range image.Kinds() {
		path := "/" + string(kind) + "{target:(?:[./].*)?}"
		if kind.NeedsTarget() {
			path = "/" + string(kind) + "{target:(?:/.*)?}"
		}
		r.Handle(path, b.Answer.Handle("image "+string(kind), answer.Plain, func(w http.ResponseWriter, r *http.Request) error {
			return b.image(w, r, kind)
		})).Methods(http.MethodGet, http.MethodHead)
	}
}

// image answers /KIND/R[/F[/X[/K]]], /KIND for kinds without a target, the same with the
// kind's suffix, and the SHA-256 of each at the same URL plus ".sha256".
func (b *Boot) image(w http.ResponseWriter, r *http.Request, kind image.Kind) error {
	target, wantSum := cutSuffixFold(mux.Vars(r)["target"], ".sha256")
	query, err := answer.Query(r.URL.RawQuery, []string{"arch", "scheme"}, added)
	if err != nil {
		return err
	}
	order := catalog.Order{Kind: kind, Options: image.Options{Arch: image.Arch(query.Get("arch"))}, Scheme: query.Get("scheme"), Local: answer.LocalOf(r)}
	if kind.NeedsTarget() {
		elems, err := withoutFileName(kind, strings.Split(strings.TrimPrefix(target, "/"), "/"))
		if err != nil {
			return err
		}
		if order.Target, err = ipxe.ParseTarget(elems); err != nil {
			return err
		}
	} else if target != "" && !kind.IsFileName(strings.TrimPrefix(target, "/")) {
		return provisioning.Errorf(provisioning.NotFound, "nothing here: /%s has no run mode, farmer or arguments; accepted behind it are %s and .sha256", kind, kind.Ext())
	}
	if wantSum {
		d, err := b.Catalog.Describe(order)
		if err != nil {
			return err
		}
		return writeSum(w, d.SHA256, d.Name)
	}
	f, err := b.Catalog.Image(order)
	if err != nil {
		return err
	}
	if kind != image.Script {
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
	}
	if strings.HasPrefix(r.UserAgent(), "UefiHttpBoot/") {
		f.ContentType = kind.UEFIContentType()
	}
	if kind.UEFIContentType() != kind.ContentType() {
		w.Header().Set("Vary", "User-Agent")
	}
	send(w, r, f)
	return nil
}

// added tells whether a parameter of an image's URL is one that programs add to links that
// they pass on, against caches and to count visitors: a farmer's link works however it came
// to him. Everything else that is unknown is refused, not only what is nearly right:
// ?farmer=1234 would give an image without the farmer.
func added(name string) bool {
	return slices.Contains([]string{"_", "v", "t", "ts", "fbclid", "gclid"}, name) || strings.HasPrefix(name, "utm_")
}

// withoutFileName returns the arguments of an image's URL, still percent-encoded, without
// what firmware and BMCs want to see at its end: the kind's suffix, as in
// /iso/prod/1234.iso, or a file name, as in /iso/prod/1234/ipxe.iso. A kernel keeps its
// name, which has a suffix of its own. The error is about a file name of another kind,
// which would be kernel arguments otherwise.
func withoutFileName(kind image.Kind, elems []string) ([]string, error) {
	last := len(elems) - 1
	if kind == image.Script || last > ipxe.MaxElements {
		return elems, nil
	}
	name, err := url.PathUnescape(elems[last])
	if err != nil {
		return elems, nil // which whoever reads the arguments says
	}
	maybeKernel := last == ipxe.MaxElements-1
	switch stem, ok := cutSuffixFold(name, kind.Ext()); {
	case last > 0 && kind.IsFileName(name) && !(maybeKernel && kind.Ext() == kernelExt):
		return elems[:last], nil
	case last > 0 && !maybeKernel && image.IsFileName(name):
		return nil, provisioning.Errorf(provisioning.Invalid, "%.60q is no name of /%s: accepted is one that ends in %s", name, kind, kind.Ext())
	case ok && (!maybeKernel || strings.HasSuffix(stem, kernelExt)):
		elems[last] = url.PathEscape(stem)
	}
	return elems, nil
}

// kernelExt is how the names of kernels end.
const kernelExt = ".efi"

// cutSuffixFold is [strings.CutSuffix], whatever the case: firmware and file systems write
// names in capital letters.
func cutSuffixFold(s, suffix string) (string, bool) {
	if n := len(s) - len(suffix); n >= 0 && strings.EqualFold(s[n:], suffix) {
		return s[:n], true
	}
	return s, false
}
