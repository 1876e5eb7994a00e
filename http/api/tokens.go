package api

import (
	"net/http"
	"time"

	"farmboot/provisioning"
)

// newToken is a token with the secret that is shown this once.
type newToken struct {
	provisioning.Token
	Secret string `json:"secret"`
}

// addToken answers POST /api/v1/tokens.
func (a *API) addToken(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	var body struct {
		Role     provisioning.Role     `json:"role"`
		Farmer   provisioning.FarmerID `json:"farmer"`
		Name     string                `json:"name"`
		Expires  time.Time             `json:"expires"`
		ReadOnly bool                  `json:"read_only"`
	}
	if err := decodeBody(w, r, &body); err != nil {
		return err
	}
	t, secret, err := a.Registry.AddToken(r.Context(), by, provisioning.Token{
		Role: body.Role, Farmer: body.Farmer, Name: body.Name, Expires: body.Expires, ReadOnly: body.ReadOnly,
	})
	if err != nil {
		return err
	}
	return created(w, "/api/v1/tokens/"+t.ID, newToken{t, secret})
}
