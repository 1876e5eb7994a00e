package http

import (
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gorilla/mux"
)

// Routes is a part of a plane: it adds its routes to a router.
type Routes interface{ Routes(r *mux.Router) }

// Plane returns the handler of a plane that has those parts.
//
// Its router leaves the path as the client wrote it: kernel arguments may hold
// "//", "..", "%2F" and "%0A", which cleaning would rewrite before anything could
// refuse them.
func Plane(parts ...Routes) http.Handler {
	r := mux.NewRouter().SkipClean(true).UseEncodedPath()
	r.NotFoundHandler = http.HandlerFunc(notFound)
	r.MethodNotAllowedHandler = http.HandlerFunc(methodNotAllowed)
	for _, p := range parts {
		p.Routes(r)
	}
	return trimSlash(r)
}

// trimSlash makes "/iso/prod/" mean "/iso/prod", without a redirect, which some
// firmware does not follow.
func trimSlash(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// As the client wrote it: "%2F" at the end belongs to the last argument.
		if p := r.URL.EscapedPath(); len(p) > 1 && strings.HasSuffix(p, "/") {
			u := *r.URL
			u.RawPath = strings.TrimSuffix(p, "/")
			u.Path = strings.TrimSuffix(r.URL.Path, "/")
			trimmed := *r
			trimmed.URL = &u
			r = &trimmed
		}
		next.ServeHTTP(w, r)
	})
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "nothing here; the start page / says what there is", http.StatusNotFound)
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, fmt.Sprintf("method %.20q is not accepted here: accepted are GET and HEAD", r.Method), http.StatusMethodNotAllowed)
}

// serveContent is [http.ServeContent] of a body whose type is known, but for the range of
// the last 0 bytes: there is none (RFC 9110 section 14.1.2), as little as one behind the
// end.
func serveContent(w http.ResponseWriter, r *http.Request, modified time.Time, size int64, content io.ReadSeeker) {
	if strings.TrimSpace(r.Header.Get("Range")) == "bytes=-0" {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", size))
	}
	http.ServeContent(w, r, "", modified, content)
}

// writeSum sends a digest as "sha256sum -c" reads it.
func writeSum(w http.ResponseWriter, sum, name string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := fmt.Fprintf(w, "%s  %s\n", sum, path.Base(name))
	return err
}
