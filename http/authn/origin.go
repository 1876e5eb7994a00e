package authn

import (
	"net/http"

	"farmboot/provisioning"
)

// SameOrigin refuses to change anything for a page of another site, whose visitor's
// browser sends our cookies along. Programs that are no browsers are not concerned.
func SameOrigin(r *http.Request) error {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return provisioning.Errorf(provisioning.Forbidden, "refused: a browser sent this for a page of another site")
	}
	return nil
}
