package api

import (
	"net/http"

	"farmboot/http/answer"
	"farmboot/provisioning"
)

// enrolment is whether a node is to be made to trust our key, for Secure Boot.
type enrolment struct {
	Enrolling bool `json:"enrolling"`
}

// enrolmentOf returns the node of a request, if by may change it, and nodes can be
// enrolled here.
func (a *API) enrolmentOf(r *http.Request, by provisioning.Actor) (provisioning.MAC, error) {
	mac, err := answer.MAC(r)
	if err != nil {
		return mac, err
	}
	if _, err := a.Registry.Node(r.Context(), by, mac); err != nil {
		return mac, err
	}
	if a.Enrolment == nil {
		return mac, provisioning.Errorf(provisioning.Conflict, "Secure Boot is off here: set [secure-boot] enabled = true in the configuration, and start the appliance anew")
	}
	return mac, nil
}

// getEnrolment answers GET /api/v1/nodes/{mac}/enrolment.
func (a *API) getEnrolment(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	mac, err := a.enrolmentOf(r, by)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, enrolment{a.Enrolment.Enrolling(mac)})
}

// enrol answers PUT /api/v1/nodes/{mac}/enrolment: the node is enrolled at its next boot.
func (a *API) enrol(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	mac, err := a.enrolmentOf(r, by)
	if err != nil {
		return err
	}
	if err := a.Enrolment.Enrol(mac); err != nil {
		return err
	}
	if err := a.Registry.Note(r.Context(), by, "node enrol", mac.String(), nil, nil); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, enrolment{true})
}

// cancelEnrolment answers DELETE /api/v1/nodes/{mac}/enrolment: the node boots as usual.
func (a *API) cancelEnrolment(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	mac, err := a.enrolmentOf(r, by)
	if err != nil {
		return err
	}
	if a.Enrolment.Enrolling(mac) {
		a.Enrolment.Enrolled(mac)
		if err := a.Registry.Note(r.Context(), by, "node enrol cancel", mac.String(), nil, nil); err != nil {
			return err
		}
	}
	return noContent(w, nil)
}
