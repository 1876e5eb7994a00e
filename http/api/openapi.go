package api

import (
	"bytes"
	_ "embed"
	"net/http"
	"time"

	"farmboot/provisioning"
)

// OpenAPIDocument describes the API (OpenAPI 3.0), in YAML.
//
//go:embed openapi.yaml
var OpenAPIDocument []byte

// openAPIPath is where it is.
const openAPIPath = "/api/v1/openapi.yaml"

// openAPI answers GET /api/v1/openapi.yaml: what describes all this to programs. It is public,
// and the manual, which plain HTTP serves too, has a link to it.
func openAPI(w http.ResponseWriter, r *http.Request, _ provisioning.Actor) error {
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	http.ServeContent(w, r, "openapi.yaml", time.Time{}, bytes.NewReader(OpenAPIDocument))
	return nil
}
