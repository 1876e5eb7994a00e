package pages

import (
	"cmp"
	"net/http"
	"slices"

	"farmboot/http/answer"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
)

// imagesPage is /images: the kernels that there are.
type imagesPage struct {
	frame
	Kernels []listedKernel
	Bare    []choice // run modes that have no kernel
	Offered string   // a kernel that they could boot; "": none
}

// listedKernel is a kernel as pages list it.
type listedKernel struct {
	kernel.Kernel
	SHA256 string
	Fault  string // why no node can boot it, by its own header; "": nothing is known
}

// Path is where nodes fetch it.
func (k listedKernel) Path() string { return "/kernel/" + k.Name }

// idle is 1 where no run mode boots it.
func (k listedKernel) idle() int {
	if len(k.RunModes) == 0 {
		return 1
	}
	return 0
}

func (p *Pages) images(w http.ResponseWriter, r *http.Request) error {
	kernels, err := listKernels(p.Kernels)
	if err != nil {
		return err
	}
	modes := p.Site(answer.LocalOf(r)).RunModes
	page := imagesPage{frame: frame{Section: "images"}, Kernels: kernels}
	for _, c := range networks(p.Kernels, modes, "") {
		if c.Missing != "" {
			page.Bare = append(page.Bare, c)
		}
	}
	if len(page.Bare) > 0 {
		page.Offered = p.offered(kernels)
	}
	return render(w, http.StatusOK, "images", page)
}

// offered is the first of those kernels that a run mode can be pointed at and nodes can boot;
// "": none. It reads their headers.
func (p *Pages) offered(kernels []listedKernel) string {
	i := slices.IndexFunc(kernels, func(k listedKernel) bool { return !k.Default() && p.Kernels.Check(k.Name) == nil })
	if i < 0 {
		return ""
	}
	return kernels[i].Name
}

// listKernels lists the kernels with their digests: those that a run mode boots, then
// the others, the newest first. A default kernel is listed by itself only where it is
// not a link to one of the others.
func listKernels(store *kernel.Store) ([]listedKernel, error) {
	kernels, err := store.List()
	if err != nil {
		return nil, err
	}
	defaults, err := store.Defaults()
	if err != nil {
		return nil, err
	}
	linked := func(d kernel.Kernel) bool {
		return slices.ContainsFunc(kernels, func(k kernel.Kernel) bool {
			return slices.ContainsFunc(d.RunModes, func(m provisioning.RunMode) bool { return slices.Contains(k.RunModes, m) })
		})
	}
	kernels = slices.Concat(kernels, slices.DeleteFunc(defaults, linked))
	list := make([]listedKernel, 0, len(kernels))
	for _, k := range kernels {
		sum, err := store.SHA256(k.Name)
		if provisioning.ErrorCode(err) == provisioning.NotFound {
			continue // gone since
		}
		if err != nil {
			return nil, err
		}
		list = append(list, listedKernel{Kernel: k, SHA256: sum})
	}
	slices.SortStableFunc(list, func(a, b listedKernel) int {
		return cmp.Or(cmp.Compare(a.idle(), b.idle()), b.ModTime.Compare(a.ModTime))
	})
	return list, nil
}
