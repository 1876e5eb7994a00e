package answer

import (
	"encoding/json"
	"net/http"
	"strings"

	"farmboot/provisioning"
)

// Codes of refusals that only HTTP knows.
const (
	TooLarge         provisioning.Code = "too_large"              // of a body
	UnsupportedMedia provisioning.Code = "unsupported_media_type" // of a body
	NotAllowed       provisioning.Code = "method_not_allowed"
	TooMany          provisioning.Code = "too_many_requests"
)

// ErrNoCredentials says that a request has no credentials, which is no attempt to
// guess them. An error that has it as its cause says the same.
var ErrNoCredentials error = provisioning.Errorf(provisioning.Unauthorized,
	"no credentials: send the header Authorization: Bearer <token>; an admin makes one with farmboot token add")

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
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case UnsupportedMedia:
		return http.StatusUnsupportedMediaType
	case NotAllowed:
		return http.StatusMethodNotAllowed
	case TooMany:
		return http.StatusTooManyRequests
	default:
		return http.StatusInternalServerError
	}
}

// Accepting refuses the methods that a path does not have, which are all but those (RFC 9110
// section 15.5.6).
func Accepting(methods []string) Handler {
	allow := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Allow", allow)
		return provisioning.Errorf(NotAllowed, "method %.20q is not accepted here: accepted are %s", r.Method, allow)
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
	w.WriteHeader(Header(w, err, "text/plain; charset=utf-8"))
	_, _ = w.Write([]byte(PublicMessage(err) + "\n"))
}

// Header sets the header fields of a refusal, and returns its status.
func Header(w http.ResponseWriter, err error, contentType string) int {
	status := StatusOf(provisioning.ErrorCode(err))
	h := w.Header()
	for _, k := range []string{"Content-Length", "Content-Disposition", "Etag", "Last-Modified"} {
		h.Del(k)
	}
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	switch status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", "5")
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="farmboot"`)
	}
	return status
}

// Problem is the body of a refusal in JSON.
type Problem struct {
	Code    provisioning.Code `json:"code"`
	Message string            `json:"message"`
}

// ProblemOf is what the one who asked may read of err.
func ProblemOf(err error) Problem {
	return Problem{provisioning.ErrorCode(err), PublicMessage(err)}
}

// JSON answers with the status of err and {"error":{"code":"…","message":"…"}}.
func JSON(w http.ResponseWriter, _ *http.Request, err error) {
	w.WriteHeader(Header(w, err, "application/json"))
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false) // people read it in a terminal: "Bearer <token>"
	_ = to.Encode(map[string]Problem{"error": ProblemOf(err)})
}
