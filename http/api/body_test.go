package api_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestBodies: what is wrong with a body is named, and what is accepted.
func TestBodies(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		name, body string
		status     int
		says       string
	}{
		{"unknown field", `{"mac":"5254000000b1","runmod":"dev"}`, 400, `unknown field "runmod": accepted are mac, farmer, runmode, args, kernel, name`},
		{"text for a number", `{"mac":"5254000000b1","farmer":"5"}`, 400, `field "farmer" is string: accepted is a whole number from 0 to 4294967295`},
		{"farmer too large", `{"mac":"5254000000b1","farmer":4294967296}`, 400, `field "farmer" is number 4294967296: accepted is`},
		{"negative farmer", `{"mac":"5254000000b1","farmer":-1}`, 400, `field "farmer" is number -1: accepted is`},
		{"half a farmer", `{"mac":"5254000000b1","farmer":1.5}`, 400, `field "farmer" is number 1.5: accepted is`},
		{"number for a text", `{"mac":"5254000000b1","name":7}`, 400, `field "name" is number: accepted is a string`},
		{"number for a MAC", `{"mac":525400}`, 400, `field "mac" is number: accepted is a string`},
		{"bad MAC", `{"mac":"52:54"}`, 400, `bad MAC address "52:54"`},
		{"no MAC", `{"farmer":5}`, 400, "a node needs its MAC address"},
		{"array", `[]`, 400, "the body is array: accepted is an object"},
		{"text", `"x"`, 400, "the body is string: accepted is an object"},
		{"nothing", ` `, 400, "nothing is there"},
		{"not JSON", `mac=5254000000b1`, 400, "bad JSON: invalid character 'm'"},
		{"half", `{"mac":"5254000000b1"`, 400, "bad JSON: it ends too soon"},
		{"two", `{"mac":"5254000000b1"} {}`, 400, "something follows"},
		{"comma behind", `{"mac":"5254000000b1"},`, 400, "something follows"},
		{"too long", `{"name":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "longer than 65536 bytes"},
		{"too long behind", `{"mac":"5254000000b1"}` + strings.Repeat(" ", 64<<10), 413, "longer than 65536 bytes"},
		{"unknown run mode", `{"mac":"5254000000b1","runmode":"proud"}`, 400, `unknown run mode "proud": accepted are prod, test, dev, qa`},
		{"arguments with a line in them", `{"mac":"5254000000b1","args":"a\nshell"}`, 400, "control character U+000A"},
		{"missing kernel", `{"mac":"5254000000b1","kernel":"absent.efi"}`, 400, "missing kernel absent.efi"},
		{"kernel elsewhere", `{"mac":"5254000000b1","kernel":"../secret"}`, 400, "bad kernel name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := s.do("POST", "/api/v1/nodes", test.body).want(t, test.status).problem(t)
			if !strings.Contains(p.Message, test.says) {
				t.Errorf("message %q, want %q in it", p.Message, test.says)
			}
		})
	}
	for _, media := range []string{"text/plain", "text/csv", "/", "application/json; x"} {
		p := s.do("POST", "/api/v1/nodes", `{"mac":"5254000000b1"}`, header("Content-Type", media)).want(t, http.StatusUnsupportedMediaType).problem(t)
		if !strings.Contains(p.Message, "accepted is application/json") {
			t.Error(p.Message)
		}
	}
	s.do("GET", "/api/v1/nodes/5254000000b1", "").want(t, http.StatusNotFound)
	s.do("POST", "/api/v1/nodes", `{"mac":"5254000000b1"}`, header("Content-Type", "application/json; charset=utf-8")).want(t, http.StatusCreated)
	// Said by curl -d, and by Python's urllib, without being asked.
	s.do("POST", "/api/v1/nodes", `{"mac":"5254000000b2"}`, header("Content-Type", "application/x-www-form-urlencoded")).want(t, http.StatusCreated)
}

// TestOwnNames: the body of a PUT may say what it is of, as a GET answers it, and is refused where
// that is something else.
func TestOwnNames(t *testing.T) {
	s := newSite(t)
	s.do("PUT", "/api/v1/kernels/own.efi", kernelText("own"), binary).want(t, http.StatusCreated)
	for _, test := range []struct {
		path, own, other string
		says             string
	}{
		{"/api/v1/nodes/" + node1, `{"mac":"` + node1 + `","name":"x"}`, `{"mac":"` + node2 + `","name":"x"}`, "of node " + node2 + ", the address of " + node1 + ": a node's MAC address cannot be changed"},
		{"/api/v1/farmers/5", `{"id":5,"name":"Five"}`, `{"id":6,"name":"Five"}`, "of farmer 6, the address of 5: a farmer's id cannot be changed"},
		{"/api/v1/farmers/5", `{"id":5,"name":"Five"}`, `{"id":0,"name":"Five"}`, "of farmer 0, the address of 5"},
		{"/api/v1/kernels/net/qa", `{"runmode":"qa","kernel":"own.efi"}`, `{"runmode":"dev","kernel":"own.efi"}`, "of run mode dev, the address of qa: a run mode's keyword cannot be changed"},
		{"/api/v1/nodes/" + node1 + "/enrolment", `{"enrolling":true}`, `{"enrolling":false}`, "accepted is true, and DELETE ends it"},
	} {
		s.do("PUT", test.path, test.own).want(t, http.StatusOK)
		if p := s.do("PUT", test.path, test.other).want(t, http.StatusBadRequest).problem(t); !strings.Contains(p.Message, test.says) {
			t.Errorf("PUT %s %s: %q, want %q in it", test.path, test.other, p.Message, test.says)
		}
	}
}

// TestNothingElse: what is not there is said in JSON below /api/ too.
func TestNothingElse(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/api/", "/api/v1", "/api/v1/nope", "/api/v2/nodes", "/api/v1/nodes/" + node1 + "/x", "/api/symlinks/x/y", "/api/kernels"} {
		if p := s.do("GET", path, "").want(t, http.StatusNotFound).problem(t); p.Code != "not_found" {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for _, test := range []struct{ method, path, allow string }{
		{"PATCH", "/api/v1/nodes", "GET, HEAD, POST"},
		{"DELETE", "/api/v1/nodes", "GET, HEAD, POST"},
		{"POST", "/api/v1/nodes/" + node1, "GET, HEAD, PUT, DELETE"},
		{"GET", "/api/v1/nodes/import", "POST"},
		{"GET", "/api/v1/nodes/" + node1 + "/claim", "POST"},
		{"GET", "/api/v1/kernels/net/prod/promote", "POST"},
		{"POST", "/api/v1/kernels/net/prod", "GET, HEAD, PUT"},
		{"OPTIONS", "/api/v1/kernels/x.efi", "GET, HEAD, PUT, DELETE"},
		{"PUT", "/api/v1/events/stream", "GET, HEAD"},
	} {
		r := s.do(test.method, test.path, "").want(t, http.StatusMethodNotAllowed)
		if p := r.problem(t); r.header.Get("Allow") != test.allow || p.Code != "method_not_allowed" {
			t.Errorf("%s %s: Allow %q, want %q; %+v", test.method, test.path, r.header.Get("Allow"), test.allow, p)
		}
	}
	for _, path := range []string{"/api/v1/nodes", "/api/v1/nodes/" + node1, "/api/v1/openapi.yaml", "/api/v1/events/stream"} {
		if r := s.do("HEAD", path, "").want(t, http.StatusOK); len(r.body) != 0 {
			t.Errorf("HEAD %s: %q", path, r.body)
		}
	}
	s.do("POST", "/api/kernel", "{}", header("Cookie", "token="+s.tokens.admin)).want(t, http.StatusUnsupportedMediaType)
}

// TestQueries: a parameter that nobody reads is a mistake.
func TestQueries(t *testing.T) {
	s := newSite(t)
	for query, says := range map[string]string{
		"nodes?runmod=dev":        `unknown parameter "runmod"`,
		"nodes?runmode=proud":     `unknown run mode "proud"`,
		"nodes?farmer=0":          "bad farmer id",
		"nodes?farmer=5&farmer=6": "given 2 times",
		"nodes?limit=0":           "bad limit",
		"nodes?limit=10001":       "accepted is a whole number from 1 to 10000",
		"nodes?after=x":           "bad MAC address",
		"nodes?mac=zz":            "bad start of a MAC address",
		"nodes?text=%zz":          "bad query",
		"nodes/zz":                "bad MAC address",
		"events?since=yesterday":  "bad since",
		"events?since=-1":         "bad since",
		"events?mac=1":            "bad MAC address",
		"events/stream?since=x":   "bad since",
		"events/stream?mac=x":     "bad MAC address",
		"check?arg=x":             `unknown parameter "arg"`,
		"check?farmer=x":          "bad farmer id",
		"discovered?limit=x":      "bad limit",
		"history?limit=x":         "bad limit",
	} {
		r := s.do("GET", "/api/v1/"+query, "").want(t, http.StatusBadRequest)
		if p := r.problem(t); !strings.Contains(p.Message, says) {
			t.Errorf("%s: message %q, want %q in it", query, p.Message, says)
		}
	}
	s.do("GET", "/api/v1/events/stream", "", header("Last-Event-ID", "x")).want(t, http.StatusBadRequest)
}
