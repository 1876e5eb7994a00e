package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"farmboot/http/answer"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
)

// The calls here are those of the program that Farmboot replaces, which build
// machines still make:
//
//	curl -b token=… -F kernel=@FILE https://…/api/kernel
//	curl -b token=… https://…/api/symlink/LINK/FILE
//
// Both names are in the kernel folder; a run mode's default is often a link to such
// a LINK.

// legacyPaths are where they are.
var legacyPaths = []string{"/api/kernel", "/api/symlink"}

// legacyAnswer is what they answer.
type legacyAnswer struct {
	Status  string `json:"status"` // "success" or "error"
	Message string `json:"message,omitempty"`
}

// legacyFailure is a [answer.Failure].
func legacyFailure(w http.ResponseWriter, _ *http.Request, err error) {
	w.WriteHeader(answer.Header(w, err, "application/json"))
	_ = json.NewEncoder(w).Encode(legacyAnswer{"error", answer.PublicMessage(err)})
}

// errNoLegacyCall says what there is to those who call nearly that.
func errNoLegacyCall() error {
	return provisioning.Errorf(provisioning.NotFound, "nothing here: accepted are POST /api/kernel and GET /api/symlink/LINK/TARGET, where both are names of files in the kernel folder")
}

// errLegacyToken is for clients that know no header, or whose token is no good.
func errLegacyToken() error {
	return provisioning.Errorf(provisioning.Unauthorized, "no valid token: send an admin's in the cookie token, as curl -b token=… does, or in the header Authorization: Bearer <token>")
}

// legacyKernel answers POST /api/kernel: a multipart form (RFC 7578) whose field
// kernel is the file, with its name.
func (a *API) legacyKernel(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	force, err := flag(r.URL.Query(), "force")
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(answer.ExtendRead(w, http.MaxBytesReader(w, r.Body, kernel.MaxSize+maxBody)))
	parts, err := r.MultipartReader()
	if err != nil {
		return provisioning.Errorf(answer.UnsupportedMedia, "a form (multipart/form-data) is expected, with the file in its field kernel")
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return provisioning.Errorf(provisioning.Invalid, "the form has no field kernel with a file")
		}
		if err != nil {
			return provisioning.Errorf(provisioning.Invalid, "bad form: %w", err)
		}
		if part.FormName() != "kernel" {
			continue
		}
		if _, err := a.KernelEditor.Put(r.Context(), by, fileName(part), part, kernel.Want{Force: force}); err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, legacyAnswer{Status: "success"})
	}
}

// fileName returns a part's file name as its sender wrote it. That of [multipart.Part]
// is without folders, and what asks for another folder is to be refused, not bent.
func fileName(part *multipart.Part) string {
	_, parameters, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return parameters["filename"]
}

// legacySymlink answers GET /api/symlink/{link}/{target}: link, in the kernel
// folder, is another name of target from now on.
func (a *API) legacySymlink(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	link, err := answer.Var(r, "link")
	if err != nil {
		return err
	}
	target, err := answer.Var(r, "target")
	if err != nil {
		return err
	}
	if err := a.KernelEditor.Link(r.Context(), by, link, target); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, legacyAnswer{Status: "success"})
}
