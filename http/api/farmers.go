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
	if err := a.Registry.AddFarmer(r.Context(), by, f); err != nil {
		return err
	}
	return created(w, "/api/v1/farmers/"+f.ID.String(), f)
}
