package pages

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"farmboot/http/answer"
	"farmboot/provisioning"
)

// tokensPage is /admin/tokens.
type tokensPage struct {
	frame
	form
	Roles   []choice
	Ends    []choice
	Now     time.Time
	Tokens  []provisioning.Token
	Secret  string // of the token that was made just now
	Made    provisioning.Token
	Problem string
}

func (a *Admin) tokens(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	return a.showTokens(w, r, by, http.StatusOK, tokensPage{form: newForm(url.Values{})})
}

func (a *Admin) showTokens(w http.ResponseWriter, r *http.Request, by provisioning.Actor, status int, page tokensPage) (err error) {
	page.frame = adminFrame(r, by, "tokens")
	page.Now = a.Now()
	page.Ends = checked(tokenEnds, page.Or("expires", ""))
	if page.Tokens, err = a.Registry.Tokens(r.Context(), by); err != nil {
		return err
	}
	role := provisioning.RoleFarmer
	if len(page.Tokens) == 0 {
		role = provisioning.RoleAdmin // whoever makes the first one makes it for himself
	}
	page.Roles = checked(roles, page.Or("role", string(role)))
	return render(w, status, "tokens", page)
}

// addToken makes a token, and shows its secret on the page that answers the form:
// it is in no URL and no history.
func (a *Admin) addToken(w http.ResponseWriter, r *http.Request, by provisioning.Actor, f form) error {
	role := provisioning.Role(f.oneOf("role", "", roles))
	farmer := f.farmer("farmer")
	expires := a.expiry(f)
	page := tokensPage{form: f}
	if len(f.Errors) > 0 {
		return a.showTokens(w, r, by, http.StatusBadRequest, page)
	}
	made, secret, err := a.Registry.AddToken(r.Context(), by, provisioning.Token{
		Role: role, Farmer: farmer, Name: f.Text("name"), Expires: expires, ReadOnly: f.Text("read-only") != "",
	})
	if err == nil {
		page.form, page.Made, page.Secret = newForm(url.Values{}), made, secret
		return a.showTokens(w, r, by, http.StatusOK, page)
	}
	message, ok := notice(err)
	if !ok {
		return err
	}
	field := "farmer"
	if role == provisioning.RoleAdmin && farmer == 0 || f.Text("farmer") != "" && role == provisioning.RoleFarmer {
		field = "name" // all else was right
	}
	f.Errors[field] = message
	return a.showTokens(w, r, by, answer.StatusOf(provisioning.ErrorCode(err)), page)
}

// expiry reads when a token is to end; the zero time is never.
func (a *Admin) expiry(f form) time.Time {
	days, err := strconv.Atoi(f.oneOf("expires", "", tokenEnds))
	if err != nil {
		return time.Time{}
	}
	return a.Now().AddDate(0, 0, days)
}

func (a *Admin) removeToken(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	err := a.Registry.RemoveToken(r.Context(), by, mux.Vars(r)["id"])
	return answerForm(w, r, err, "/admin/tokens", "token-removed", func(status int, problem string) error {
		return a.showTokens(w, r, by, status, tokensPage{form: newForm(url.Values{}), Problem: problem})
	})
}
