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

// openAPI answers GET /api/v1/openapi.yaml: what describes all this to programs.
func (a *API) openAPI(w http.ResponseWriter, r *http.Request, _ provisioning.Actor) error {
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	http.ServeContent(w, r, "openapi.yaml", time.Time{}, bytes.NewReader(OpenAPIDocument))
	return nil
}
