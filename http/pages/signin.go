package pages

import (
	"net/http"
	"strings"

	"farmboot/http/answer"
	"farmboot/provisioning"
)

// signInPage is /admin/signin.
type signInPage struct {
	frame
	form
	Back string // where to go afterwards
	Code string // of a sign-in link that waits for its button
}

// signInPage shows the form. A link's code is used by its button, not by opening
// the page: mail scanners and previews open links.
func (a *Admin) signInPage(w http.ResponseWriter, r *http.Request) error {
	q := newForm(r.URL.Query())
	return render(w, http.StatusOK, "signin", signInPage{
		frame: frame{Section: "admin"}, form: newForm(nil), Back: back(q.Get("to")), Code: q.Get("code"),
	})
}

func (a *Admin) signIn(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	page := signInPage{frame: frame{Section: "admin"}, form: f, Back: back(f.Get("to"))}
	var opened session
	_, err = a.Guard(func(r *http.Request) (by provisioning.Actor, err error) {
		opened, by, err = a.open(r, f)
		return by, err
	})(r)
	if err != nil {
		message, ok := notice(err)
		if !ok {
			return err
		}
		f.Errors["token"] = message
		return render(w, answer.StatusOf(provisioning.ErrorCode(err)), "signin", page)
	}
	a.Sessions.begin(w, opened)
	seeOther(w, r, page.Back)
	return nil
}

// open checks what somebody signs in with: a link's code, or a token.
func (a *Admin) open(r *http.Request, f form) (session, provisioning.Actor, error) {
	if code := f.Text("code"); code != "" {
		by := provisioning.Actor{Name: "sign-in link", Role: provisioning.RoleAdmin}
		return session{actor: by}, by, a.Links.use(code)
	}
	secret := f.Text("token")
	if secret == "" {
		return session{}, provisioning.Actor{}, provisioning.Errorf(provisioning.Invalid, "paste your token here")
	}
	by, err := a.Sessions.authenticate(r.Context(), secret, answer.PeerOf(r).String())
	if provisioning.ErrorCode(err) == provisioning.Unauthorized {
		err = provisioning.Errorf(provisioning.Unauthorized, "this is not a valid token: it was mistyped, or has been revoked")
	}
	return session{secret: secret}, by, err
}

func (a *Admin) signOut(w http.ResponseWriter, r *http.Request) error {
	a.Sessions.signOut(w, r)
	seeOther(w, r, SignInPath)
	return nil
}

// back is where to go after signing in: a page of ours, or the board.
func back(to string) string {
	if to == "/admin" || strings.HasPrefix(to, "/admin/") && !strings.HasPrefix(to, SignInPath) || strings.HasPrefix(to, "/admin?") {
		return to
	}
	return "/admin"
}
