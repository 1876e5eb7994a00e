package http

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"farmboot/ipxe/image"
)

// Routes is a part of a plane: it adds its routes to a router.
type Routes interface{ Routes(r *mux.Router) }

// Plane returns the handler of a plane that has those parts. Its routes are compiled when
// the first request comes, some milliseconds and half a megabyte that no start waits for.
//
// Its router leaves the path as the client wrote it: kernel arguments may hold
// "//", "..", "%2F" and "%0A", which cleaning would rewrite before anything could
// refuse them.
func Plane(parts ...Routes) http.Handler {
	router := sync.OnceValue(func() http.Handler {
		r := mux.NewRouter().SkipClean(true).UseEncodedPath()
		r.NotFoundHandler = http.HandlerFunc(notFound)
		r.MethodNotAllowedHandler = http.HandlerFunc(methodNotAllowed)
		for _, p := range parts {
			p.Routes(r)
		}
		return tidySlashes(r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { router().ServeHTTP(w, r) })
}

// tidySlashes makes "//iso//prod/" mean "/iso/prod", without a redirect, which some
// firmware does not follow: a client that joins our URL and a path has two slashes
// between them, and shim asks for "/boot//grubx64.efi".
func tidySlashes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// As the client wrote it: "%2F" is a part of an argument.
		if p := r.URL.EscapedPath(); strings.Contains(p, "//") || len(p) > 1 && strings.HasSuffix(p, "/") {
			u := *r.URL
			u.RawPath = tidy(p)
			u.Path, _ = url.PathUnescape(u.RawPath) // it was unescaped before
			tidied := *r
			tidied.URL = &u
			r = &tidied
		}
		next.ServeHTTP(w, r)
	})
}

// tidy takes the slashes out of a path that stand for nothing. Those behind a run mode
// stand for an argument that is not given, and those of the API are refused there.
func tidy(path string) string {
	elems := strings.Split(strings.TrimSuffix("/"+strings.TrimLeft(path, "/"), "/"), "/")
	if len(elems) < 3 || elems[1] == "api" || elems[1] == "admin" {
		return cmp.Or(strings.Join(elems, "/"), "/")
	}
	for elems[len(elems)-1] == "" {
		elems = elems[:len(elems)-1]
	}
	kind, err := image.ParseKind(elems[1])
	arguments := err == nil && kind.NeedsTarget()
	tidied := elems[:2:2]
	for i, e := range elems[2:] {
		if e == "" {
			continue
		}
		if arguments {
			return strings.Join(append(tidied, elems[2+i:]...), "/")
		}
		tidied = append(tidied, e)
	}
	return strings.Join(tidied, "/")
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
// end. The name of the unit is that in letters of either case, and ranges in another unit
// are ignored (sections 14.1 and 14.2).
func serveContent(w http.ResponseWriter, r *http.Request, modified time.Time, size int64, content io.ReadSeeker) {
	if unit, ranges, ok := strings.Cut(strings.TrimSpace(r.Header.Get("Range")), "="); !ok || !strings.EqualFold(unit, "bytes") {
		r.Header.Del("Range")
	} else if ranges = strings.TrimSpace(ranges); ranges == "-0" {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", size))
	} else {
		r.Header.Set("Range", "bytes="+ranges)
	}
	http.ServeContent(w, r, "", modified, content)
}

// writeSum sends a digest as "sha256sum -c" reads it.
func writeSum(w http.ResponseWriter, sum, name string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := fmt.Fprintf(w, "%s  %s\n", sum, path.Base(name))
	return err
}
