package pages

import (
	"net/http"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/provisioning/rights"
)

// firstSteps are what a new appliance needs; true: it is still to be done.
type firstSteps struct {
	Kernel bool // no run mode has one to boot
	Token  bool // there is none, and sign-in links work once
}

// firstSteps tells an admin what is still to be done.
func (a *Admin) firstSteps(r *http.Request, by provisioning.Actor) (firstSteps, error) {
	if !rights.All(by) {
		return firstSteps{}, nil
	}
	modes := a.Site(answer.LocalOf(r)).RunModes
	tokens, err := a.Registry.Tokens(r.Context(), by)
	return firstSteps{Kernel: len(a.Kernels.Kernelless(modes)) == len(modes), Token: len(tokens) == 0}, err
}
