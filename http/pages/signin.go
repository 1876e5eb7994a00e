package pages

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"

	"farmboot/http/answer"
	"farmboot/http/authn"
	"farmboot/provisioning"
)

// signInPage is /admin/signin.
type signInPage struct {
	frame
	form
	Back   string // where to go afterwards
	Code   string // of a sign-in link that waits for its button
	OpenID string // name of the OpenID provider; "": there is none
}

// signedInPage leads on to an admin page. A redirect would not do: a browser that comes
// from another site sends no session's cookie along.
type signedInPage struct {
	frame
	Back string
}

// signInPage shows the form. A link's code is used by its button, not by opening
// the page: mail scanners and previews open links. Where links work no more, it says so.
func (a *Admin) signInPage(w http.ResponseWriter, r *http.Request) error {
	q := newForm(r.URL.Query())
	page := a.newSignInPage(newForm(nil), q.Get("to"))
	if page.Code = q.Get("code"); page.Code != "" {
		if err := a.Registry.CheckNoToken(r.Context()); err != nil {
			page.Code = ""
			return page.refuse(w, err, "token")
		}
	}
	return render(w, http.StatusOK, "signin", page)
}

func (a *Admin) newSignInPage(f form, to string) signInPage {
	page := signInPage{frame: frame{Section: "admin"}, form: f, Back: back(to)}
	if a.OpenID != nil {
		page.OpenID = a.OpenID.Name()
	}
	return page
}

func (a *Admin) signIn(w http.ResponseWriter, r *http.Request) error {
	f, err := readShortForm(w, r, maxSignIn)
	if err != nil {
		return err
	}
	page := a.newSignInPage(f, f.Get("to"))
	switch code, token := f.Text("code"), f.Text("token"); {
	case code != "":
		err = a.Sessions.SignInByLink(w, r, code)
	case token != "":
		err = a.Sessions.SignIn(w, r, token)
	default:
		err = provisioning.Errorf(provisioning.Invalid, "paste your token here")
	}
	if err != nil {
		return page.refuse(w, err, "token")
	}
	seeOther(w, r, page.Back)
	return nil
}

// refuse shows the page with what was wrong, at a field of it or at "openid".
func (p signInPage) refuse(w http.ResponseWriter, err error, at string) error {
	message, ok := notice(err)
	if !ok {
		return err
	}
	p.Errors[at] = message
	return render(w, answer.StatusOf(provisioning.ErrorCode(err)), "signin", p)
}

// beginOpenID leads to the OpenID provider.
func (a *Admin) beginOpenID(w http.ResponseWriter, r *http.Request) error {
	page := a.newSignInPage(newForm(nil), r.URL.Query().Get("to"))
	if err := a.OpenID.Begin(w, r, a.AdminURL(answer.LocalOf(r)), page.Back); err != nil {
		return page.refuse(w, err, "openid")
	}
	return nil
}

// finishOpenID lets in who comes back from the OpenID provider.
func (a *Admin) finishOpenID(w http.ResponseWriter, r *http.Request) error {
	to := ""
	err := a.Sessions.SignInAs(w, r, func() (by provisioning.Actor, err error) {
		by, to, err = a.OpenID.Finish(w, r, a.AdminURL(answer.LocalOf(r)))
		return by, err
	})
	if err != nil {
		return a.newSignInPage(newForm(nil), to).refuse(w, err, "openid")
	}
	return render(w, http.StatusOK, "signedin", signedInPage{frame{Section: "admin"}, back(to)})
}

func (a *Admin) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := a.Sessions.SignOut(w, r); err != nil {
		return err
	}
	seeOther(w, r, authn.SignInPath)
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
	if page == authn.SignInPath || page != board && !strings.HasPrefix(page, board+"/") {
		return board
	}
	return to
}
