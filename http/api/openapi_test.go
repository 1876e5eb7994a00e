package api_test

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"farmboot/http/api"
)

// document is openapi.yaml, checked, and a router of what it describes.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPIDocument)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaPatternValidation())
})

var described = sync.OnceValues(func() (routers.Router, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
})

// matched finds what the document says of a request; nil if it says nothing.
func matched(t testing.TB, r *http.Request) *openapi3filter.RequestValidationInput {
	t.Helper()
	router, err := described()
	if err != nil {
		t.Fatal(err)
	}
	route, params, err := router.FindRoute(r)
	if err != nil { // not a route: told apart by TestEveryRouteIsDescribed
		return nil
	}
	return &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, MultiError: true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	}
}

// conform checks an answer against the document. Every answer in the tests here
// passes through it.
func conform(t testing.TB, r *http.Request, answer reply) {
	t.Helper()
	input := matched(t, r)
	if input == nil || r.Method == http.MethodHead {
		return
	}
	input.Options.ExcludeResponseBody = answer.header.Get("Content-Type") == "application/yaml" // no object
	err := openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: answer.status, Header: answer.header,
		Body: io.NopCloser(bytes.NewReader(answer.body)), Options: input.Options,
	})
	if err != nil {
		t.Errorf("%s %s: openapi.yaml does not describe the answer so: %v", r.Method, r.URL, err)
	}
}

// conformRequest checks a request that was accepted.
func conformRequest(t testing.TB, r *http.Request) {
	t.Helper()
	input := matched(t, r)
	if input == nil {
		return
	}
	input.Options.ExcludeRequestBody = !isJSON(r.Header)
	if r.GetBody != nil {
		r.Body, _ = r.GetBody()
	}
	if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
		t.Errorf("%s %s was accepted, but openapi.yaml does not describe the request so: %v", r.Method, r.URL, err)
	}
}

func isJSON(h http.Header) bool {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return media == "application/json"
}

// TestEveryRouteIsDescribed, and nothing else is.
func TestEveryRouteIsDescribed(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	var inDocument []string
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			inDocument = append(inDocument, method+" "+path)
			if op.OperationID == "" || op.Summary == "" || len(op.Tags) != 1 {
				t.Errorf("%s %s: operationId %q, summary %q, tags %v", method, path, op.OperationID, op.Summary, op.Tags)
			}
		}
	}
	routes := registered(t, newSite(t))
	slices.Sort(routes)
	slices.Sort(inDocument)
	if !slices.Equal(routes, inDocument) {
		t.Errorf("routes:\n%s\nin openapi.yaml:\n%s", strings.Join(routes, "\n"), strings.Join(inDocument, "\n"))
	}
}

// TestEveryParameterIsDescribed: a route reads those that the document describes, and
// refuses all others.
func TestEveryParameterIsDescribed(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			described := []string{}
			for _, p := range slices.Concat(item.Parameters, op.Parameters) {
				if p.Value.In == openapi3.ParameterInQuery {
					described = append(described, p.Value.Name)
				}
			}
			want := "none is accepted here"
			if len(described) > 0 {
				slices.Sort(described)
				want = "accepted are " + strings.Join(described, ", ")
			}
			target, _, _ := strings.Cut(visits[method+" "+path].path, "?")
			answer := string(s.do(method, target+"?nonsense=1", "").want(t, http.StatusBadRequest).body)
			_, said, _ := strings.Cut(answer, `unknown parameter \"nonsense\": `)
			said, _, _ = strings.Cut(said, `"`)
			if names, ok := strings.CutPrefix(said, "accepted are "); ok {
				list := strings.Split(names, ", ")
				slices.Sort(list)
				said = "accepted are " + strings.Join(list, ", ")
			}
			if said != want {
				t.Errorf("%s %s says %q, openapi.yaml %q: %s", method, path, said, want, answer)
			}
		}
	}
}

func TestDocumentIsServed(t *testing.T) {
	s := newSite(t)
	r := s.send(s.request("GET", "/api/v1/openapi.yaml", "", "")).want(t, http.StatusOK)
	if !bytes.Equal(r.body, api.OpenAPIDocument) || r.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("%d bytes of %s", len(r.body), r.header.Get("Content-Type"))
	}
}

// TestConform: the check itself finds what is wrong.
func TestConform(t *testing.T) {
	s := newSite(t)
	for what, answer := range map[string]reply{
		"a field too much": {200, http.Header{"Content-Type": {"application/json"}}, []byte(`[{"mac":"52:54:00:00:00:01","farmer":0,"runmode":"","args":"","kernel":"","name":"","x":1}]`)},
		"another type":     {200, http.Header{"Content-Type": {"text/plain"}}, nil},
		"a plain error":    {500, http.Header{"Content-Type": {"application/json"}}, []byte(`"x"`)},
	} {
		var found recordingT
		conform(&found, s.request("GET", "/api/v1/nodes", "", ""), answer)
		if !found.failed {
			t.Errorf("%s is taken for right", what)
		}
	}
}

// recordingT notes that something failed.
type recordingT struct {
	testing.TB
	failed bool
}

func (r *recordingT) Helper()                  {}
func (r *recordingT) Context() context.Context { return context.Background() }
func (r *recordingT) Errorf(string, ...any)    { r.failed = true }
