package pages

import (
	"cmp"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"

	"farmboot/http/answer"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/rollout"
	"farmboot/provisioning"
	"farmboot/provisioning/rights"
)

// kernelsPage is /admin/kernels.
type kernelsPage struct {
	frame
	form
	Problem string // with what was asked for below the form
	Kernels []listedKernel
	Offered []listedKernel // those of them that a run mode can be pointed at
	Modes   []pointedMode
}

// pointedMode is a run mode and the kernel that it boots.
type pointedMode struct {
	choice
	Kernel string // "": none
	Before string // kernel that it booted before; "": none that is here
	Canary *rollout.Canary
	Fixed  bool   // it is a file of its own, not a link to one of the kernels
	Fault  string // why nodes do not boot it, or may not, to be read behind the run mode; "": they do
}

func (a *Admin) kernels(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	return a.showKernels(w, r, by, http.StatusOK, kernelsPage{form: newForm(url.Values{})})
}

func (a *Admin) showKernels(w http.ResponseWriter, r *http.Request, by provisioning.Actor, status int, page kernelsPage) (err error) {
	if err := rights.Page(by); err != nil {
		return err
	}
	page.frame = adminFrame(r, by, "kernels")
	if page.Kernels, err = listKernels(a.Kernels); err != nil {
		return err
	}
	for i, k := range page.Kernels {
		if k.Default() {
			continue
		}
		page.Offered = append(page.Offered, k)
		if err := a.Kernels.Check(k.Name); err != nil && !errors.Is(err, kernel.ErrUnknown) {
			page.Kernels[i].Fault = answer.PublicMessage(err)
		}
	}
	modes := a.Site(answer.LocalOf(r)).RunModes
	for _, c := range networks(a.Kernels, modes, "") {
		m, mode := provisioning.RunMode(c.Value), pointedMode{choice: c}
		for _, k := range page.Kernels {
			if slices.Contains(k.RunModes, m) {
				mode.Kernel = k.Name
			}
		}
		if mode.Canary, err = a.Rollout.Canary(r.Context(), m); err != nil {
			return err
		}
		if err := a.Rollout.Fared(r.Context(), mode.Canary); err != nil {
			return err
		}
		if _, before, err := a.Rollout.Before(r.Context(), m); err == nil {
			mode.Before = before.Kernel
		}
		mode.Fixed = mode.Kernel == kernel.DefaultOf(m)
		if mode.Kernel != "" {
			mode.Fault = cmp.Or(mode.Missing, mode.Doubt)
		}
		page.Modes = append(page.Modes, mode)
	}
	if status == http.StatusOK && !slices.ContainsFunc(page.Modes, func(m pointedMode) bool { return m.Missing == "" }) {
		page.Set("runmode", first(modes.Keywords())) // what the first kernel is for
	}
	return render(w, status, "kernels", page)
}

// uploadKernel stores a kernel as it comes in. The form's name and run mode, if it
// has them, must come before its file: nothing is kept in memory.
func (a *Admin) uploadKernel(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	f := newForm(url.Values{})
	name, err := a.receive(answer.ExtendRead(w, http.MaxBytesReader(w, r.Body, kernel.MaxSize+1<<20)), r, by, f)
	if err == nil && len(f.Errors) == 0 {
		if mode := f.Text("runmode"); mode != "" {
			err = a.point(r, by, mode, name, f.Text("force") != "")
		}
		if err == nil {
			return done(w, r, "/admin/kernels", "kernel-uploaded")
		}
	}
	if message, ok := notice(err); !ok {
		return err
	} else if message != "" {
		f.Errors["file"] = message
	}
	return a.showKernels(w, r, by, http.StatusBadRequest, kernelsPage{form: f})
}

// receive reads the parts of an upload in order; the last is the file.
func (a *Admin) receive(body io.Reader, r *http.Request, by provisioning.Actor, f form) (name string, err error) {
	r.Body = io.NopCloser(body)
	parts, err := r.MultipartReader()
	if err != nil {
		return "", provisioning.Errorf(provisioning.Invalid, "this is not an upload: use the form on this page")
	}
	for {
		part, err := parts.NextPart()
		if err != nil {
			if errors.Is(err, io.EOF) && f.Has("file") {
				return name, nil
			}
			return "", provisioning.Errorf(provisioning.Invalid, "choose a file")
		}
		if part.FormName() != "file" {
			text, err := io.ReadAll(io.LimitReader(part, 4096))
			if err != nil {
				return "", provisioning.Errorf(provisioning.Invalid, "the upload broke off")
			}
			f.Set(part.FormName(), string(text))
			continue
		}
		if name, err = a.store(part, r, by, f); err != nil || len(f.Errors) > 0 {
			return "", err
		}
		f.Set("file", name)
	}
}

// store stores the file of an upload.
func (a *Admin) store(part *multipart.Part, r *http.Request, by provisioning.Actor, f form) (string, error) {
	name := cmp.Or(f.Text("name"), part.FileName())
	if part.FileName() == "" {
		return "", provisioning.Errorf(provisioning.Invalid, "choose a file")
	}
	if err := kernel.CheckName(name); err != nil {
		f.Errors["name"] = answer.PublicMessage(err)
		return "", nil
	}
	if mode := f.Text("runmode"); mode != "" {
		f.runMode(a.Site(answer.LocalOf(r)).RunModes, "")
		if len(f.Errors) > 0 {
			return "", nil
		}
	}
	_, err := a.KernelEditor.Put(r.Context(), by, name, part, kernel.Want{Force: f.Text("force") != ""})
	return name, err
}

func (a *Admin) point(r *http.Request, by provisioning.Actor, mode, name string, force bool) error {
	if err := a.Site(answer.LocalOf(r)).RunModes.Check(provisioning.RunMode(mode)); err != nil {
		return err
	}
	return a.Rollout.Use(r.Context(), by, provisioning.RunMode(mode), name, force)
}

func (a *Admin) pointRunMode(r *http.Request, by provisioning.Actor, f form) error {
	return a.point(r, by, f.Text("runmode"), f.Text("kernel"), false)
}

// rollBack takes back the kernel that a run mode tries, or gives it what it booted before.
func (a *Admin) rollBack(r *http.Request, by provisioning.Actor, f form) error {
	_, err := a.Rollout.Back(r.Context(), by, provisioning.RunMode(f.Text("runmode")))
	return err
}

// promoteKernel gives the kernel that a run mode tries to all of its nodes.
func (a *Admin) promoteKernel(r *http.Request, by provisioning.Actor, f form) error {
	_, err := a.Rollout.Promote(r.Context(), by, provisioning.RunMode(f.Text("runmode")))
	return err
}

func (a *Admin) removeKernel(r *http.Request, by provisioning.Actor, f form) error {
	return a.KernelEditor.Remove(r.Context(), by, f.Text("kernel"))
}

// kernelAction does what a small form on the page asks for.
func (a *Admin) kernelAction(what string, do func(*http.Request, provisioning.Actor, form) error) formHandler {
	return func(w http.ResponseWriter, r *http.Request, by provisioning.Actor, f form) error {
		return answerForm(w, r, do(r, by, f), "/admin/kernels", what, func(status int, problem string) error {
			return a.showKernels(w, r, by, status, kernelsPage{form: newForm(url.Values{}), Problem: problem})
		})
	}
}
