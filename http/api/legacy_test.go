package api_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apphttp "farmboot/http"
	"farmboot/http/api"
)

// TestLegacy makes the two calls as build machines make them.
func TestLegacy(t *testing.T) {
	s := newSite(t)
	cookie := header("Cookie", "token="+s.tokens.admin)
	form := header("Content-Type", "multipart/form-data; boundary="+boundary)
	type legacy struct{ Status, Message string }
	call := func(method, path, body string, status int, options ...func(*http.Request)) string {
		t.Helper()
		r := s.send(s.request(method, path, "", body, append([]func(*http.Request){cookie}, options...)...)).want(t, status)
		got := decode[legacy](t, r)
		if success := status == http.StatusOK; (got.Status == "success") != success || (got.Status == "error") == success || (got.Message == "") != success {
			t.Errorf("%s %s: %+v", method, path, got)
		}
		return got.Message
	}
	says := func(message, want string) {
		t.Helper()
		if !strings.Contains(message, want) {
			t.Errorf("message %q, want %q in it", message, want)
		}
	}
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(s.folder, name))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	const kernel = "zero-os-main-generic-0123abcdef.efi"
	call("POST", "/api/kernel", kernelForm(kernel, kernelText("main")), 200, form)
	call("GET", "/api/symlink/zero-os-main-generic.efi/"+kernel, "", 200)
	if got := read("zero-os-main-generic.efi"); got != kernelText("main") {
		t.Errorf("the link leads to %q", got)
	}
	call("GET", "/api/symlink/zero-os-main-generic.efi/old.efi", "", 200)
	if got := read("zero-os-main-generic.efi"); got != kernelText("old.efi") {
		t.Errorf("the link leads to %q", got)
	}
	files := s.files()
	for _, name := range []string{"", ".hidden", "../x.efi", "net/prod.efi", "/etc/x", `..\x.efi`} {
		call("POST", "/api/kernel", kernelForm(name, kernelText("x")), 400, form)
	}
	call("POST", "/api/kernel", "--"+boundary+"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.efi\"\r\n\r\nMZ\r\n--"+boundary+"--\r\n", 400, form)
	call("POST", "/api/kernel", kernelForm("x.efi", "<html>"), 400, form)
	call("POST", "/api/kernel", "kernel=x", 415, header("Content-Type", "application/x-www-form-urlencoded"))
	call("GET", "/api/symlink/x.efi/absent.efi", "", 404)           // no such target
	call("GET", "/api/symlink/x.efi/..%2Fprovisioning.db", "", 404) //
	call("GET", "/api/symlink/..%2Fx.efi/old.efi", "", 400)         // leaves the folder
	call("GET", "/api/symlink/..%2f..%2fx.efi/old.efi", "", 400)    //
	says(call("GET", "/api/symlink/net/old.efi", "", 409), "net is a folder")
	says(call("GET", "/api/symlink/used.efi/old.efi", "", 409), "used.efi is a real file")
	call("DELETE", "/api/symlink/x.efi/old.efi", "", 405) //
	call("GET", "/api/symlink/x.efi/old.efi", "", 403, header("Sec-Fetch-Site", "cross-site"))
	says(call("GET", "/api/symlink/x.efi/old.efi", "", 401, header("Cookie", "token=farmboot_x_y")), "in the cookie token")
	says(call("GET", "/api/symlink/x.efi/old.efi", "", 401, header("Cookie", "")), "in the cookie token")
	says(call("POST", "/api/kernel", kernelForm("x.efi", kernelText("x")), 401, form, header("Cookie", "")), "in the cookie token")
	call("GET", "/api/symlink/x.efi/old.efi?x=1", "", 400)
	for _, path := range []string{
		"/api/symlink/../x/old.efi", "/api/symlink/../../x/old.efi", "/api/symlink/x.efi", "/api/symlink/x.efi/", "/api/symlink/x.efi/old.efi/z",
		"/api/symlink/net/prod.efi/old.efi", "/api/symlink", "/api/symlink/", "/api/symlink//", "/api/symlink//old.efi", "/api/symlink/x.efi//old.efi", "/api/symlink/./x.efi/old.efi",
		"/api/kernel/x.efi", "/api/kernel/../x",
	} {
		for _, method := range []string{"GET", "POST", "PUT"} {
			says(call(method, path, "", 404), "GET /api/symlink/LINK/TARGET")
		}
	}
	call("GET", "/api/symlink/x.efi/old.efi", "", 403, header("Cookie", "token="+s.tokens.five))
	if got := s.files(); got != files {
		t.Errorf("files %s, were %s", got, files)
	}
}

// TestLegacyCookieIsNotForTheRest: only the legacy calls take the cookie.
func TestLegacyCookieIsNotForTheRest(t *testing.T) {
	s := newSite(t)
	s.send(s.request("GET", "/api/v1/nodes", "", "", header("Cookie", "token="+s.tokens.admin))).want(t, http.StatusUnauthorized)
}

// TestWantsTLS: on plain HTTP every call says that it wants TLS, in the form that its client
// reads; what describes them is there.
func TestWantsTLS(t *testing.T) {
	s := newSite(t)
	refusals := api.WantsTLS{Answer: s.Answer, AdminURL: func(netip.Addr) string { return "https://10.0.0.1:8443" }}
	plane := apphttp.Plane(refusals)
	for _, call := range []struct{ method, path, form string }{
		{"POST", "/api/kernel", `{"status":"error","message":"`},
		{"GET", "/api/symlink/x.efi/old.efi", `{"status":"error","message":"`},
		{"GET", "/api/v1/nodes", `{"error":{"code":"forbidden","message":"`},
		{"PUT", "/api/v1/kernels/x.efi", `{"error":{"code":"forbidden","message":"`},
		{"POST", "/api/v1/openapi.yaml", `{"error":{"code":"forbidden","message":"`},
	} {
		w := httptest.NewRecorder()
		plane.ServeHTTP(w, httptest.NewRequest(call.method, call.path, nil))
		want := call.form + "the API wants TLS, so that nobody on the way reads a token: send this call to https://10.0.0.1:8443" + call.path
		if w.Code != http.StatusForbidden || !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("%s %s: %d %s", call.method, call.path, w.Code, w.Body)
		}
	}
	for _, method := range []string{"GET", "HEAD"} {
		w := httptest.NewRecorder()
		plane.ServeHTTP(w, httptest.NewRequest(method, "/api/v1/openapi.yaml", nil))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/yaml" || method == "GET" && w.Body.String() != string(api.OpenAPIDocument) {
			t.Errorf("%s: what describes the API, which is public, is answered with %d %v", method, w.Code, w.Header())
		}
	}
}
