package api

import (
	"net/http"

	"farmboot/http/answer"
	"farmboot/provisioning"
)

// listFarmers answers GET /api/v1/farmers.
func (a *API) listFarmers(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	farmers, err := a.Registry.Farmers(r.Context(), by)
	return reply(w, list(farmers), err)
}

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

// removeFarmer answers DELETE /api/v1/farmers/{id}.
func (a *API) removeFarmer(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	s, err := answer.Var(r, "id")
	if err != nil {
		return err
	}
	id, err := provisioning.ParseFarmerID(s)
	if err != nil {
		return err
	}
	return noContent(w, a.Registry.RemoveFarmer(r.Context(), by, id))
}
