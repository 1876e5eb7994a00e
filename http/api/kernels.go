package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"

	"farmboot/http/answer"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
)

// listKernels answers GET /api/v1/kernels.
func (a *API) listKernels(w http.ResponseWriter, _ *http.Request, _ provisioning.Actor) error {
	infos, err := a.Kernels.Infos()
	return reply(w, infos, err)
}

// getKernel answers GET /api/v1/kernels/{name}.
func (a *API) getKernel(w http.ResponseWriter, _ *http.Request, _ provisioning.Actor, name string) error {
	return a.answerKernel(w, http.StatusOK, name)
}

// answerKernel answers with what is known of one kernel.
func (a *API) answerKernel(w http.ResponseWriter, status int, name string) error {
	info, err := a.Kernels.Info(name)
	if err != nil {
		return err
	}
	return writeJSON(w, status, info)
}

// putKernel answers PUT /api/v1/kernels/{name}: the body is the file.
func (a *API) putKernel(w http.ResponseWriter, r *http.Request, by provisioning.Actor, name string) (err error) {
	if err := notAForm(r, "the file itself, as curl --upload-file sends it"); err != nil {
		return err
	}
	want := kernel.Want{Size: max(r.ContentLength, 0)}
	if want.Force, err = flag(r.URL.Query(), "force"); err != nil {
		return err
	}
	if want.SHA256, err = announcedSHA256(r); err != nil {
		return err
	}
	if want.Size > kernel.MaxSize {
		return provisioning.Errorf(answer.TooLarge, "kernel %.60s has %d bytes: at most %d are accepted", name, want.Size, kernel.MaxSize)
	}
	isNew, err := a.KernelEditor.Put(r.Context(), by, name, answer.ExtendRead(w, r.Body), want)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if isNew {
		status = http.StatusCreated
		w.Header().Set("Location", "/api/v1/kernels/"+name)
	}
	return a.answerKernel(w, status, name)
}

// announcedSHA256 returns the digest that the sender announces, in hexadecimal
// digits: as such in the parameter sha256 or in X-Content-SHA256, or in Base64 in
// Content-Digest or Repr-Digest (RFC 9530) or Digest (RFC 3230). "" if there is none
// of SHA-256. Whoever announces one relies on it: what cannot be read is refused, and
// so are two that differ.
func announcedSHA256(r *http.Request) (announced string, err error) {
	add := func(name, value, accepted string, decode func(string) ([]byte, error)) error {
		b, err := decode(value)
		digest := hex.EncodeToString(b)
		switch {
		case err != nil || len(b) != sha256.Size:
			return provisioning.Errorf(provisioning.Invalid, "bad %s %.80q: accepted %s", name, value, accepted)
		case announced != "" && announced != digest:
			return provisioning.Errorf(provisioning.Invalid, "two different digests are announced: %s and %s", announced, digest)
		}
		announced = digest
		return nil
	}
	const digits = "are 64 hexadecimal digits"
	if q := r.URL.Query(); q.Has("sha256") {
		if err := add("sha256", q.Get("sha256"), digits, hex.DecodeString); err != nil {
			return "", err
		}
	}
	if s := r.Header.Get("X-Content-SHA256"); s != "" {
		if err := add("X-Content-SHA256", s, digits, hex.DecodeString); err != nil {
			return "", err
		}
	}
	for _, name := range []string{"Content-Digest", "Repr-Digest", "Digest"} {
		for _, part := range digestsIn(r.Header.Values(name)) {
			algorithm, value, _ := strings.Cut(part, "=")
			if algorithm == "" || value == "" {
				return "", provisioning.Errorf(provisioning.Invalid, "bad %s %.80q: accepted is a digest, as in sha-256=:Base64:", name, part)
			}
			if !strings.EqualFold(algorithm, "sha-256") {
				continue
			}
			if err := add(name, strings.Trim(value, ":"), "is a SHA-256 in Base64", base64.StdEncoding.DecodeString); err != nil {
				return "", err
			}
		}
	}
	return announced, nil
}

// digestsIn lists the digests in the lines of a header.
func digestsIn(lines []string) (list []string) {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			if part = strings.TrimSpace(part); part != "" { // RFC 9110 section 5.6.1 lets lists have gaps
				list = append(list, part)
			}
		}
	}
	return list
}

// pointRunMode answers PUT /api/v1/kernels/net/{runmode}: the run mode boots that
// kernel from now on.
func (a *API) pointRunMode(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mode provisioning.RunMode) error {
	var body struct {
		RunMode *provisioning.RunMode `json:"runmode"`
		Kernel  string                `json:"kernel"`
		Canary  string                `json:"canary"`
	}
	if err := decodeBody(w, r, &body); err != nil {
		return err
	}
	if err := same("run mode", "a run mode's keyword", mode, body.RunMode); err != nil {
		return err
	}
	if body.Kernel == "" {
		return provisioning.Errorf(provisioning.Invalid, `field "kernel" is missing: accepted is the name of a kernel, as in {"kernel":"zos.efi"}`)
	}
	force, err := flag(r.URL.Query(), "force")
	switch {
	case body.Canary != "":
		_, err = a.Rollout.Start(r.Context(), by, mode, body.Kernel, body.Canary)
	case err == nil:
		err = a.Rollout.Use(r.Context(), by, mode, body.Kernel, force)
	}
	if err != nil {
		return err
	}
	return a.answerKernel(w, http.StatusOK, body.Kernel)
}

// runModeHistory answers GET /api/v1/kernels/net/{runmode}: what the run mode booted, and
// the kernel that it tries.
func (a *API) runModeHistory(w http.ResponseWriter, r *http.Request, _ provisioning.Actor, mode provisioning.RunMode) error {
	record, err := a.Rollout.Record(r.Context(), mode)
	return reply(w, record, err)
}

// promoteKernel answers POST /api/v1/kernels/net/{runmode}/promote.
func (a *API) promoteKernel(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mode provisioning.RunMode) error {
	if _, err := a.Rollout.Promote(r.Context(), by, mode); err != nil {
		return err
	}
	return a.runModeHistory(w, r, by, mode)
}

// rollBack answers POST /api/v1/kernels/net/{runmode}/rollback.
func (a *API) rollBack(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mode provisioning.RunMode) error {
	if _, err := a.Rollout.Back(r.Context(), by, mode); err != nil {
		return err
	}
	return a.runModeHistory(w, r, by, mode)
}
