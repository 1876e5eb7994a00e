package api

import (
	"net/http"

	"farmboot/provisioning"
)

// addFarmer answers POST /api/v1/farmers.
func (a *API) addFarmer(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	var f provisioning.Farmer
	if err := decodeBody(w, r, &f); err != nil {
		return err
	}
	f, _, err := a.Registry.AddFarmer(r.Context(), by, f)
	if err != nil {
		return err
	}
	return created(w, "/api/v1/farmers/"+f.ID.String(), f)
}

// setFarmer answers PUT /api/v1/farmers/{id}.
func (a *API) setFarmer(w http.ResponseWriter, r *http.Request, by provisioning.Actor, id provisioning.FarmerID) error {
	var body struct {
		ID   *provisioning.FarmerID `json:"id"`
		Name *string                `json:"name"`
	}
	if err := decodeBody(w, r, &body); err != nil {
		return err
	}
	if err := same("farmer", "a farmer's id", id, body.ID); err != nil {
		return err
	}
	if body.Name == nil {
		return provisioning.Errorf(provisioning.Invalid, "nothing to change: accepted is name")
	}
	f, err := a.Registry.SetFarmer(r.Context(), by, provisioning.Farmer{ID: id, Name: *body.Name})
	return reply(w, f, err)
}
