package api

import (
	"net/http"

	"farmboot/provisioning"
	"farmboot/provisioning/registry"
)

// enrolment is whether a node is to be made to trust our key, for Secure Boot.
type enrolment struct {
	Enrolling bool `json:"enrolling"`
}

// ofEnrolment reads the node in a route's path, which by must be allowed to change, where
// nodes can be enrolled.
func (a *API) ofEnrolment(handle handlerOf[provisioning.MAC]) handler {
	return ofNode(func(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC) error {
		if _, err := a.Registry.Node(r.Context(), by, mac); err != nil {
			return err
		}
		if a.Enrolment == nil {
			return provisioning.Errorf(provisioning.Conflict, "Secure Boot is off here: set [secure-boot] enabled = true in the configuration, and start the appliance anew")
		}
		return handle(w, r, by, mac)
	})
}

// getEnrolment answers GET /api/v1/nodes/{mac}/enrolment.
func (a *API) getEnrolment(w http.ResponseWriter, _ *http.Request, _ provisioning.Actor, mac provisioning.MAC) error {
	return writeJSON(w, http.StatusOK, enrolment{a.Enrolment.Enrolling(mac)})
}

// enrol answers PUT /api/v1/nodes/{mac}/enrolment: the node is enrolled at its next boot.
// The body, which may be empty, is what a GET answers then.
func (a *API) enrol(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC) error {
	body := enrolment{true}
	if err := decodeAnyBody(w, r, &body); err != nil {
		return err
	}
	if !body.Enrolling {
		return provisioning.Errorf(provisioning.Invalid, `"enrolling" is false: accepted is true, and DELETE ends it`)
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
func (a *API) cancelEnrolment(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC) error {
	if a.Enrolment.Enrolling(mac) {
		a.Enrolment.Enrolled(mac)
		if err := a.Registry.Note(r.Context(), by, registry.EnrolCancel, mac.String(), nil, nil); err != nil {
			return err
		}
	}
	return noContent(w, nil)
}
