package api_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"
)

// visit is a request that a route is tried with, and the statuses that it gets from
// somebody without a token, with a bad one, from farmer five, whose the node in it
// is, from farmer six, whose it is not, and from an admin.
type visit struct {
	path, body string
	want       [5]int
}

const (
	ok         = http.StatusOK
	made       = http.StatusCreated
	done       = http.StatusNoContent
	unknown    = http.StatusUnauthorized
	forbidden  = http.StatusForbidden
	notFound   = http.StatusNotFound
	badRequest = http.StatusBadRequest
)

var (
	everybody   = [5]int{ok, ok, ok, ok, ok}
	readers     = [5]int{unknown, unknown, ok, ok, ok}
	owners      = [5]int{unknown, unknown, ok, forbidden, ok}
	adminsRead  = [5]int{unknown, unknown, forbidden, forbidden, ok}
	adminsMake  = [5]int{unknown, unknown, forbidden, forbidden, made}
	adminsMiss  = [5]int{unknown, unknown, forbidden, forbidden, http.StatusNotFound} // there is nothing to do so with
	adminsClear = [5]int{unknown, unknown, forbidden, forbidden, done}
)

// visits says who may do what: the other half of the table in api.go.
var visits = map[string]visit{
	"GET /api/v1/openapi.yaml": {"/api/v1/openapi.yaml", "", everybody},
	"GET /api/v1/status":       {"/api/v1/status", "", readers},
	"GET /api/v1/check":        {"/api/v1/check?runmode=prod", "", readers},

	"GET /api/v1/nodes":                    {"/api/v1/nodes?farmer=5", "", owners},
	"POST /api/v1/nodes":                   {"/api/v1/nodes", `{"mac":"5254000000b1","farmer":5}`, [5]int{unknown, unknown, made, forbidden, made}},
	"POST /api/v1/nodes/import":            {"/api/v1/nodes/import", `[{"mac":"5254000000b1","farmer":5}]`, [5]int{unknown, unknown, ok, forbidden, ok}},
	"GET /api/v1/nodes/{mac}":              {"/api/v1/nodes/" + node1, "", owners},
	"PUT /api/v1/nodes/{mac}":              {"/api/v1/nodes/" + node1, `{"name":"x"}`, owners},
	"DELETE /api/v1/nodes/{mac}":           {"/api/v1/nodes/" + node1, "", [5]int{unknown, unknown, done, forbidden, done}},
	"POST /api/v1/nodes/{mac}/claim":       {"/api/v1/nodes/" + wild + "/claim", "", adminsMake},
	"GET /api/v1/nodes/{mac}/story":        {"/api/v1/nodes/" + node1 + "/story", "", owners},
	"GET /api/v1/nodes/{mac}/history":      {"/api/v1/nodes/" + node1 + "/history", "", owners},
	"GET /api/v1/nodes/{mac}/machine":      {"/api/v1/nodes/" + node1 + "/machine", "", [5]int{unknown, unknown, notFound, forbidden, notFound}},
	"GET /api/v1/nodes/{mac}/enrolment":    {"/api/v1/nodes/" + node1 + "/enrolment", "", owners},
	"PUT /api/v1/nodes/{mac}/enrolment":    {"/api/v1/nodes/" + node1 + "/enrolment", "", owners},
	"DELETE /api/v1/nodes/{mac}/enrolment": {"/api/v1/nodes/" + node1 + "/enrolment", "", [5]int{unknown, unknown, done, forbidden, done}},
	"POST /api/v1/history/{id}/undo":       {"/api/v1/history/2/undo", "", adminsRead},
	"GET /api/v1/discovered":               {"/api/v1/discovered", "", adminsRead},
	"GET /api/v1/history":                  {"/api/v1/history", "", adminsRead},

	"GET /api/v1/farmers":         {"/api/v1/farmers", "", readers},
	"POST /api/v1/farmers":        {"/api/v1/farmers", `{"id":9}`, adminsMake},
	"PUT /api/v1/farmers/{id}":    {"/api/v1/farmers/7", `{"name":"x"}`, adminsRead},
	"DELETE /api/v1/farmers/{id}": {"/api/v1/farmers/7", "", adminsClear},

	"GET /api/v1/events":        {"/api/v1/events?mac=" + node1, "", owners},
	"GET /api/v1/events/stream": {"/api/v1/events/stream?mac=" + node1, "", owners},

	"GET /api/v1/kernels":                         {"/api/v1/kernels", "", readers},
	"GET /api/v1/kernels/{name}":                  {"/api/v1/kernels/used.efi", "", readers},
	"GET /api/v1/kernels/net/{runmode}":           {"/api/v1/kernels/net/prod", "", readers},
	"POST /api/v1/kernels/net/{runmode}/promote":  {"/api/v1/kernels/net/prod/promote", "", adminsMiss},
	"POST /api/v1/kernels/net/{runmode}/rollback": {"/api/v1/kernels/net/prod/rollback", "", adminsMiss},
	"PUT /api/v1/kernels/{name}":                  {"/api/v1/kernels/new.efi", kernelText("new"), adminsMake},
	"DELETE /api/v1/kernels/{name}":               {"/api/v1/kernels/free.efi", "", adminsClear},
	"PUT /api/v1/kernels/net/{runmode}":           {"/api/v1/kernels/net/test", `{"kernel":"used.efi"}`, adminsRead},

	"GET /api/v1/tokens":         {"/api/v1/tokens", "", adminsRead},
	"POST /api/v1/tokens":        {"/api/v1/tokens", `{"role":"farmer","farmer":5}`, adminsMake},
	"DELETE /api/v1/tokens/{id}": {"/api/v1/tokens/TOKENID", "", adminsClear},

	"POST /api/kernel":                 {"/api/kernel", kernelForm("form.efi", kernelText("form")), adminsRead},
	"GET /api/symlink/{link}/{target}": {"/api/symlink/link.efi/old.efi", "", adminsRead},
}

const boundary = "frontier"

// kernelForm is the form that curl -F kernel=@name sends.
func kernelForm(name, text string) string {
	return "--" + boundary + "\r\nContent-Disposition: form-data; name=\"kernel\"; filename=\"" + name + "\"\r\n\r\n" + text + "\r\n--" + boundary + "--\r\n"
}

// registered lists the routes of the API as the router has them: "METHOD path".
func registered(t *testing.T, s *site) []string {
	t.Helper()
	r := mux.NewRouter().SkipClean(true).UseEncodedPath()
	s.Routes(r)
	var routes []string
	err := r.Walk(func(rt *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := rt.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, err := rt.GetMethods()
		if err != nil { // what says 404 and 405
			return nil
		}
		for _, m := range methods {
			if m != http.MethodHead {
				routes = append(routes, m+" "+path)
			}
		}
		return nil
	})
	if err != nil || len(routes) == 0 {
		t.Fatalf("routes %v, %v", routes, err)
	}
	return routes
}

// TestRoles tries every route as everybody. A route that is not in the table above
// fails it.
func TestRoles(t *testing.T) {
	file, tok := seed(t)
	routes := registered(t, serve(t, file, tok))
	for _, name := range routes {
		if _, ok := visits[name]; !ok {
			t.Errorf("who may use %s? Say so in visits", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(visits)) {
		if !slices.Contains(routes, name) {
			t.Errorf("%s is not a route", name)
			continue
		}
		v := visits[name]
		for i, who := range []struct{ name, token string }{
			{"no token", ""}, {"bad token", "farmboot_x_y"}, {"owner", tok.five}, {"another farmer", tok.six}, {"admin", tok.admin},
		} {
			t.Run(name+" by "+who.name, func(t *testing.T) {
				s := serve(t, file, tok)
				method, _, _ := strings.Cut(name, " ")
				id := strings.Split(tok.six, "_")[1]
				r := s.request(method, strings.ReplaceAll(v.path, "TOKENID", id), who.token, v.body)
				switch name {
				case "PUT /api/v1/kernels/{name}":
					r.Header.Set("Content-Type", "application/octet-stream")
				case "POST /api/kernel":
					r.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
				}
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close() // not read: a stream has no end
				if res.StatusCode != v.want[i] {
					t.Errorf("status %d, want %d", res.StatusCode, v.want[i])
				}
				if challenge := res.Header.Get("WWW-Authenticate"); (challenge != "") != (res.StatusCode == unknown) {
					t.Errorf("status %d with WWW-Authenticate %q (RFC 9110 section 15.5.2)", res.StatusCode, challenge)
				}
			})
		}
	}
}
