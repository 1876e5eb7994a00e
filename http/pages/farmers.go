package pages

import (
	"net/http"
	"net/url"

	"github.com/gorilla/mux"

	"farmboot/provisioning"
	"farmboot/provisioning/rights"
)

// farmersPage is /admin/farmers.
type farmersPage struct {
	frame
	form
	Problem string              // with a farmer that was to be renamed, or removed
	Renamed provisioning.Farmer // with the name that was refused
	Farmers []listedFarmer
}

type listedFarmer struct {
	provisioning.Farmer
	Nodes int64
	Typed string // his name in the form that changes it
	Wrong string // with that; "": nothing
}

func (a *Admin) farmers(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	return a.showFarmers(w, r, by, http.StatusOK, farmersPage{form: newForm(url.Values{})})
}

func (a *Admin) showFarmers(w http.ResponseWriter, r *http.Request, by provisioning.Actor, status int, page farmersPage) error {
	if err := rights.Page(by); err != nil {
		return err
	}
	page.frame = adminFrame(r, by, "farmers")
	farmers, err := a.Registry.Farmers(r.Context(), by)
	if err != nil {
		return err
	}
	owned, err := a.Registry.CountNodesByFarmer(r.Context(), by)
	if err != nil {
		return err
	}
	for _, f := range farmers {
		listed := listedFarmer{Farmer: f, Nodes: int64(owned[f.ID]), Typed: f.Name}
		if f.ID == page.Renamed.ID {
			listed.Typed, listed.Wrong, page.Problem = page.Renamed.Name, page.Problem, ""
		}
		page.Farmers = append(page.Farmers, listed)
	}
	return render(w, status, "farmers", page)
}

func (a *Admin) addFarmer(w http.ResponseWriter, r *http.Request, by provisioning.Actor, f form) error {
	id := f.farmer("id")
	if f.Text("id") == "" {
		f.Errors["id"] = badFarmer
	}
	if len(f.Errors) == 0 {
		_, isNew, err := a.Registry.AddFarmer(r.Context(), by, provisioning.Farmer{ID: id, Name: f.Get("name")})
		switch {
		case err == nil && isNew:
			return done(w, r, "/admin/farmers", "farmer-added")
		case err == nil:
			return done(w, r, "/admin/farmers", "farmer-named")
		}
		message, ok := notice(err)
		if !ok {
			return err
		}
		field := "name"
		if provisioning.ErrorCode(err) != provisioning.Invalid {
			field = "id"
		}
		f.Errors[field] = message
	}
	return a.showFarmers(w, r, by, http.StatusBadRequest, farmersPage{form: f})
}

func (a *Admin) renameFarmer(w http.ResponseWriter, r *http.Request, by provisioning.Actor, f form) error {
	id, err := provisioning.ParseFarmerID(mux.Vars(r)["id"])
	if err != nil {
		return err
	}
	renamed := provisioning.Farmer{ID: id, Name: f.Get("name")}
	_, err = a.Registry.SetFarmer(r.Context(), by, renamed)
	return answerForm(w, r, err, "/admin/farmers", "farmer-renamed", func(status int, problem string) error {
		return a.showFarmers(w, r, by, status, farmersPage{form: newForm(url.Values{}), Problem: problem, Renamed: renamed})
	})
}

func (a *Admin) removeFarmer(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	id, err := provisioning.ParseFarmerID(mux.Vars(r)["id"])
	if err != nil {
		return err
	}
	err = a.Registry.RemoveFarmer(r.Context(), by, id)
	return answerForm(w, r, err, "/admin/farmers", "farmer-removed", func(status int, problem string) error {
		return a.showFarmers(w, r, by, status, farmersPage{form: newForm(url.Values{}), Problem: problem})
	})
}
