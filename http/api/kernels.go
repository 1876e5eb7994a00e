package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
)

// kernelInfo is a kernel as clients see it.
type kernelInfo struct {
	Name     string                 `json:"name"`
	Size     int64                  `json:"size"` // bytes
	Modified time.Time              `json:"modified"`
	SHA256   string                 `json:"sha256"`
	Target   string                 `json:"target,omitempty"` // of a symbolic link
	RunModes []provisioning.RunMode `json:"runmodes"`         // that boot it
}

func (a *API) infoOf(k kernel.Kernel) (kernelInfo, error) {
	sum, err := a.Kernels.SHA256(k.Name)
	return kernelInfo{k.Name, k.Size, k.ModTime.UTC(), sum, k.Target, list(k.RunModes)}, err
}

// listKernels answers GET /api/v1/kernels.
func (a *API) listKernels(w http.ResponseWriter, _ *http.Request, _ provisioning.Actor) error {
	kernels, err := a.Kernels.List()
	if err != nil {
		return err
	}
	infos := []kernelInfo{}
	for _, k := range kernels {
		switch info, err := a.infoOf(k); {
		case err == nil:
			infos = append(infos, info)
		case provisioning.ErrorCode(err) != provisioning.NotFound: // removed since
			return err
		}
	}
	return writeJSON(w, http.StatusOK, infos)
}

// getKernel answers GET /api/v1/kernels/{name}.
func (a *API) getKernel(w http.ResponseWriter, r *http.Request, _ provisioning.Actor) error {
	name, err := answer.Var(r, "name")
	if err != nil {
		return err
	}
	return a.answerKernel(w, http.StatusOK, name)
}

// answerKernel answers with what is known of one kernel.
func (a *API) answerKernel(w http.ResponseWriter, status int, name string) error {
	if err := kernel.CheckName(name); err != nil {
		return err
	}
	kernels, err := a.Kernels.List()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(kernels, func(k kernel.Kernel) bool { return k.Name == name })
	if i < 0 {
		return provisioning.Errorf(provisioning.NotFound, "there is no kernel %s", name)
	}
	info, err := a.infoOf(kernels[i])
	if err != nil {
		return err
	}
	return writeJSON(w, status, info)
}

// putKernel answers PUT /api/v1/kernels/{name}: the body is the file.
func (a *API) putKernel(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	name, err := answer.Var(r, "name")
	if err != nil {
		return err
	}
	// The last is what curl --data-binary says of every file.
	if _, err := contentType(r, "application/octet-stream", "application/efi", "application/x-www-form-urlencoded"); err != nil {
		return err
	}
	want := kernel.Want{Size: max(r.ContentLength, 0)}
	if want.SHA256, err = announcedSHA256(r.Header); err != nil {
		return err
	}
	if want.Size > kernel.MaxSize {
		return provisioning.Errorf(answer.TooLarge, "kernel %.60s has %d bytes: at most %d are accepted", name, want.Size, kernel.MaxSize)
	}
	isNew, err := a.storeKernel(r, by, name, steadily(w, r.Body), want)
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

// storeKernel stores a kernel, and tells whether there was none of that name.
func (a *API) storeKernel(r *http.Request, by provisioning.Actor, name string, from io.Reader, want kernel.Want) (isNew bool, err error) {
	old := a.identity(name)
	if err := a.Kernels.Put(name, from, want); err != nil {
		return false, err
	}
	action := "kernel set"
	if old == nil {
		action = "kernel add"
	}
	a.note(r, by, action, name, old, a.identity(name))
	return old == nil, nil
}

// identity says, for the history, which file a kernel is; nil if there is none.
func (a *API) identity(name string) any {
	sum, err := a.Kernels.SHA256(name)
	if err != nil {
		return nil
	}
	return struct {
		SHA256 string `json:"sha256"`
	}{sum}
}

// note writes a line of the history. The change is made already, and stays, should
// the client have gone or the store not answer.
func (a *API) note(r *http.Request, by provisioning.Actor, action, subject string, before, after any) {
	if err := a.Registry.Note(context.WithoutCancel(r.Context()), by, action, subject, before, after); err != nil {
		a.Log.Error("change is not in the history", "action", action, "subject", subject, "actor", by.Name, "from", by.From, "err", err)
	}
}

// announcedSHA256 returns the digest that the sender announces, in hexadecimal
// digits: in X-Content-SHA256 as such, or in Base64 in Content-Digest or
// Repr-Digest (RFC 9530) or Digest (RFC 3230). "" if there is none of SHA-256.
func announcedSHA256(h http.Header) (string, error) {
	if s := h.Get("X-Content-SHA256"); s != "" {
		if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
			return "", provisioning.Errorf(provisioning.Invalid, "bad X-Content-SHA256 %.80q: accepted are 64 hexadecimal digits", s)
		}
		return s, nil
	}
	for _, name := range []string{"Content-Digest", "Repr-Digest", "Digest"} {
		for part := range strings.SplitSeq(h.Get(name), ",") {
			algorithm, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			if !strings.EqualFold(algorithm, "sha-256") {
				continue
			}
			b, err := base64.StdEncoding.DecodeString(strings.Trim(value, ":"))
			if err != nil || len(b) != 32 {
				return "", provisioning.Errorf(provisioning.Invalid, "bad %s %.80q: accepted is a SHA-256 in Base64", name, value)
			}
			return hex.EncodeToString(b), nil
		}
	}
	return "", nil
}

// removeKernel answers DELETE /api/v1/kernels/{name}, while nobody boots it.
func (a *API) removeKernel(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	name, err := answer.Var(r, "name")
	if err != nil {
		return err
	}
	if err := a.unusedByNodes(r, by, name); err != nil {
		return err
	}
	old := a.identity(name)
	if err := a.Kernels.Remove(name); err != nil {
		return err
	}
	a.note(r, by, "kernel rm", name, old, nil)
	return noContent(w)
}

// unusedByNodes refuses if a node is registered with that kernel.
func (a *API) unusedByNodes(r *http.Request, by provisioning.Actor, name string) error {
	for n, err := range a.Registry.AllNodes(r.Context(), by, provisioning.NodeQuery{Text: name}) {
		if err != nil {
			return err
		}
		if n.Kernel == name {
			return provisioning.Errorf(provisioning.Conflict, "kernel %s is in use: node %s boots it; give that another kernel first", name, n.MAC)
		}
	}
	return nil
}

// linkKernel makes link another name of target.
func (a *API) linkKernel(r *http.Request, by provisioning.Actor, link, target string) error {
	old := a.identity(link)
	if err := a.Kernels.Link(link, target); err != nil {
		return err
	}
	a.note(r, by, "kernel link to "+target, link, old, a.identity(link))
	return nil
}

// pointRunMode answers PUT /api/v1/kernels/net/{runmode}: the run mode boots that
// kernel from now on.
func (a *API) pointRunMode(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	s, err := answer.Var(r, "runmode")
	if err != nil {
		return err
	}
	mode := provisioning.RunMode(s)
	if err := a.Composer.RunModes.Check(mode); err != nil {
		return err
	}
	var body struct {
		Kernel string `json:"kernel"`
	}
	if err := decodeBody(w, r, &body); err != nil {
		return err
	}
	if err := a.linkKernel(r, by, ipxe.Target{RunMode: mode}.KernelPath(), body.Kernel); err != nil {
		return err
	}
	return a.answerKernel(w, http.StatusOK, body.Kernel)
}
