package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"farmboot/provisioning"
)

//go:embed static
var staticFiles embed.FS

// asset is one static file. Its name carries a digest of its content, so that a
// browser may keep it for ever and still never sees an old one.
type asset struct {
	hashed      string // "farmboot.1f2e3d4c5b6a.css"
	contentType string
	content     []byte
}

// contentTypes are those of static files, by extension. Those that the host knows would
// differ from host to host, and take 5 ms to be read.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// assets are the static files by plain and by hashed name; read-only.
var assets = mustLoad(fs.Sub(staticFiles, "static"))

func mustLoad(files fs.FS, err error) map[string]*asset {
	if err != nil {
		panic(err)
	}
	names, err := fs.Glob(files, "*")
	if err != nil {
		panic(err)
	}
	all := map[string]*asset{}
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(name)
		contentType, ok := contentTypes[ext]
		if !ok {
			panic("static file " + name + ": no content type for " + ext)
		}
		a := &asset{
			hashed:      strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext,
			contentType: contentType,
			content:     content,
		}
		all[name], all[a.hashed] = a, a
	}
	return all
}

// assetURL is what a page links to for the static file with that plain name.
func assetURL(name string) (string, error) {
	a, ok := assets[name]
	if !ok {
		return "", provisioning.Errorf(provisioning.NotFound, "no static file %q", name)
	}
	return "/static/" + a.hashed, nil
}

// static answers /static/NAME, by its hashed name or its plain one.
func static(w http.ResponseWriter, r *http.Request) error {
	name := mux.Vars(r)["name"]
	a, ok := assets[name]
	if !ok {
		return provisioning.Errorf(provisioning.NotFound, "no such static file; reload the page that asked for it")
	}
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Etag", `"`+a.hashed+`"`)
	if name == a.hashed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.content))
	return nil
}
