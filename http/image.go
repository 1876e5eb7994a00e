package http

import (
	"mime"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/image"
)

// imageRoutes adds the download endpoints.
func (b *Boot) imageRoutes(r *mux.Router) {
	for _, kind := range image.Kinds() {
		path := "/" + string(kind) + "{target:(?:\\.sha256)?}"
		if kind.NeedsTarget() {
			path = "/" + string(kind) + "{target:(?:/.*)?}"
		}
		r.Handle(path, b.Answer.Handle("image "+string(kind), answer.Plain, func(w http.ResponseWriter, r *http.Request) error {
			return b.image(w, r, kind)
		})).Methods(http.MethodGet, http.MethodHead)
	}
}

// image answers /KIND/R[/F[/X[/K]]], /KIND for kinds without a target, and the
// SHA-256 of each at the same URL plus ".sha256".
func (b *Boot) image(w http.ResponseWriter, r *http.Request, kind image.Kind) error {
	target, wantSum := strings.CutSuffix(mux.Vars(r)["target"], ".sha256")
	query := r.URL.Query()
	order := catalog.Order{Kind: kind, Options: image.Options{Arch: image.Arch(query.Get("arch"))}, Scheme: query.Get("scheme"), Local: answer.LocalOf(r)}
	if kind.NeedsTarget() {
		var err error
		if order.Target, err = ipxe.ParseTarget(strings.Split(strings.TrimPrefix(target, "/"), "/")); err != nil {
			return err
		}
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
	send(w, r, f)
	return nil
}
