package pages

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"

	"farmboot/http/access"
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
	f, err := readShortForm(w, r, maxSignIn)
	if err != nil {
		return err
	}
	page := signInPage{frame: frame{Section: "admin"}, form: f, Back: back(f.Get("to"))}
	switch code, token := f.Text("code"), f.Text("token"); {
	case code != "":
		err = a.Sessions.SignInByLink(w, r, code)
	case token != "":
		err = a.Sessions.SignIn(w, r, token)
	default:
		err = provisioning.Errorf(provisioning.Invalid, "paste your token here")
	}
	if err != nil {
		message, ok := notice(err)
		if !ok {
			return err
		}
		f.Errors["token"] = message
		return render(w, answer.StatusOf(provisioning.ErrorCode(err)), "signin", page)
	}
	seeOther(w, r, page.Back)
	return nil
}

func (a *Admin) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := a.Sessions.SignOut(w, r); err != nil {
		return err
	}
	seeOther(w, r, access.SignInPath)
	return nil
}

// back is where to go after signing in: an admin page, or the board. Whoever sends
// somebody here with a link chooses to; browsers take "/\" for "//", behind which
// another host stands, and leave out control characters (WHATWG URL section 4.4).
func back(to string) string {
	const board = "/admin"
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" {
		return board
	}
	if strings.ContainsFunc(to+u.Path, func(r rune) bool { return r == '\\' || unicode.IsControl(r) }) {
		return board
	}
	page := path.Clean(u.Path)
	if page == access.SignInPath || page != board && !strings.HasPrefix(page, board+"/") {
		return board
	}
	return to
}
