package answer

import (
	"encoding/json"
	"net/http"

	"farmboot/provisioning"
)

// StatusOf is the one table from error codes to HTTP status codes (RFC 9110).
func StatusOf(code provisioning.Code) int {
	switch code {
	case provisioning.Invalid:
		return http.StatusBadRequest
	case provisioning.NotFound:
		return http.StatusNotFound
	case provisioning.Conflict:
		return http.StatusConflict
	case provisioning.Unauthorized:
		return http.StatusUnauthorized
	case provisioning.Forbidden:
		return http.StatusForbidden
	case provisioning.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// PublicMessage is what the one who asked may read of err: the message of a
// refusal, and nothing of an internal fault.
func PublicMessage(err error) string {
	if provisioning.ErrorCode(err) == provisioning.Internal {
		return "internal error; the appliance's log has the details"
	}
	return err.Error()
}

// Plain answers with the status of err and one plain line.
func Plain(w http.ResponseWriter, _ *http.Request, err error) {
	status := StatusOf(provisioning.ErrorCode(err))
	h := w.Header()
	for _, k := range []string{"Content-Length", "Content-Disposition", "Etag", "Last-Modified"} {
		h.Del(k)
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(PublicMessage(err) + "\n"))
}

// JSON answers with the status of err and {"error":{"code":"…","message":"…"}}.
func JSON(w http.ResponseWriter, _ *http.Request, err error) {
	code := provisioning.ErrorCode(err)
	var body struct {
		Error struct {
			Code    provisioning.Code `json:"code"`
			Message string            `json:"message"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = code, PublicMessage(err)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if code == provisioning.Unauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="farmboot"`)
	}
	w.WriteHeader(StatusOf(code))
	_ = json.NewEncoder(w).Encode(body)
}
