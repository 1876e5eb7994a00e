package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"farmboot/http/answer"
	"farmboot/provisioning/registry"
)

// imported is the answer of an import.
type imported struct {
	Error  answer.Problem
	Report registry.ImportReport
	registry.ImportReport
}

func (i imported) String() string {
	report := i.ImportReport
	if i.Error.Code != "" {
		report = i.Report
	}
	var b strings.Builder
	fmt.Fprintf(&b, "written %v", report.Written)
	for _, row := range report.Rows {
		fmt.Fprintf(&b, "; %d %s", row.Line, row.Outcome)
		for _, warning := range row.Warnings {
			word, _, _ := strings.Cut(warning, ":")
			fmt.Fprintf(&b, " (%s)", word)
		}
	}
	return b.String()
}

var asCSV = header("Content-Type", "text/csv")

func TestImport(t *testing.T) {
	s := newSite(t)
	all := func() string { return string(s.do("GET", "/api/v1/nodes", "").body) }
	start := all()
	for _, test := range []struct {
		name, query, body string
		csv               bool
		status            int
		want              string
		changes           bool
	}{
		{"CSV", "?dry-run=1", "mac,farmer\n5254000000b1,5\n\n52-54-00-00-00-B2,\n", true, 200, "written false; 2 added; 4 added", false},
		{"JSON", "?dry-run", `[{"mac":"5254000000b1"},{"mac":"5254.0000.00b2","farmer":7}]`, false, 200, "written false; 1 added; 2 added", false},
		{"warnings", "?dry-run", `[{"mac":"5254000000b1","args":"zos-debg farm_id=7"},{"mac":"5254000000b2","args":"zos-debug"}]`, false, 200, "written false; 1 added (zos-debg) (farm_id); 2 added", false},
		{"one bad line", "", "mac,farmer\n5254000000b1,5\nx,5\n5254000000b2,x\n5254000000b1,5\n", true, 400, "written false; 2 added; 3 refused; 4 refused; 5 refused", false},
		{"one bad line, dry", "?dry-run=true", "mac\n5254000000b1\nx\n", true, 200, "written false; 2 added; 3 refused", false},
		{"bad nodes", "", `[{"mac":"5254000000b1"},{"mac":1},{"mac":"5254000000b2","x":1},[],{}]`, false, 400, "written false; 1 added; 2 refused; 3 refused; 4 refused; 5 refused", false},
		{"registered already", "", "mac,name\n" + node1 + ",x\n", true, 400, "written false; 2 refused", false},
		{"an array of nothing", "", `[]`, false, 200, "written true", false},
		{"half an array", "", `[{"mac":"5254000000b1"}`, false, 400, "written false", false},
		{"half a node", "", `[{"mac":"5254000000b1"`, false, 400, "written false", false},
		{"behind the array", "", `[] []`, false, 400, "written false", false},
		{"an object", "", `{"mac":"5254000000b1"}`, false, 400, "written false", false},
		{"nothing", "", " ", false, 400, "written false", false},
		{"no header", "", "\n", true, 400, "written false", false},
		{"unknown column", "", "mac,colour\n", true, 400, "written false", false},
		{"unknown parameter", "?dryrun=1", "mac\n", true, 400, "written false", false},
		{"bad flag", "?dry-run=perhaps", "mac\n", true, 400, "written false", false},
		{"update", "?update=1", "mac,name\n" + node1 + ",x\n" + node2 + ",\n5254000000b1,y\n", true, 200, "written true; 2 updated; 3 unchanged; 4 added", true},
		{"without the refused", "?skip-refused=1", "mac\nx\n5254000000b2\n", true, 200, "written true; 2 refused; 3 added", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.t = t
			var options []func(*http.Request)
			if test.csv {
				options = append(options, asCSV)
			}
			got := decode[imported](t, s.do("POST", "/api/v1/nodes/import"+test.query, test.body, options...).want(t, test.status))
			if got.String() != test.want {
				t.Errorf("%s: want %s", got, test.want)
			}
			if (got.Error.Code != "") != (test.status != 200) {
				t.Errorf("status %d with error %+v", test.status, got.Error)
			}
			if changed := all() != start; changed != test.changes {
				t.Errorf("something was written: %v, want %v", changed, test.changes)
			}
		})
	}
	s.t = t
	for _, cut := range []string{`[`, ` [{"mac":"5254000000b1"}`, `[{"mac":"5254000000b1"},`, `[{"mac":"5254000000b1"`, `[{"mac":"52`} {
		if p := s.do("POST", "/api/v1/nodes/import", cut).want(t, http.StatusBadRequest).problem(t); p.Message != "bad JSON: it ends too soon" {
			t.Errorf("%s: %s", cut, p.Message)
		}
	}
}

// TestImportGoesByTheBody: clients call a file what they like, and many do not know.
func TestImportGoesByTheBody(t *testing.T) {
	s := newSite(t)
	const path = "/api/v1/nodes/import?dry-run=1"
	for _, body := range []string{
		"mac,farmer\n5254000000b1,5\n", "\n\nmac\n5254000000b1\n", "\ufeffmac\r\n5254000000b1\r\n",
		`[{"mac":"5254000000b1"}]`, "\r\n\t [\n{\"mac\":\"5254000000b1\"}]\n", "\ufeff[{\"mac\":\"5254000000b1\"}]",
	} {
		for _, media := range []string{
			"", "text/plain", "text/csv", "text/csv; charset=utf-8", "application/csv", "application/vnd.ms-excel", "application/octet-stream",
			"application/x-www-form-urlencoded", "application/json", "nonsense",
		} {
			r := s.local("POST", path, media, []byte(body))
			if media == "" {
				r.Header.Del("Content-Type")
			}
			if got := decode[imported](t, s.plane(r).want(t, http.StatusOK)); got.Counts[registry.Added] != 1 || len(got.Rows) != 1 {
				t.Errorf("%q as %q: %s", body, media, got)
			}
		}
	}
	form := s.local("POST", path, "multipart/form-data; boundary="+boundary, []byte(kernelForm("nodes.csv", "mac\n")))
	if p := s.plane(form).want(t, http.StatusUnsupportedMediaType).problem(t); !strings.Contains(p.Message, "curl --data-binary @nodes.csv") {
		t.Error(p.Message)
	}
}

// plane answers requests without a network in between.
func (s *site) plane(r *http.Request) reply {
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	answer := reply{w.Code, w.Header(), w.Body.Bytes()}
	conform(s.t, r, answer)
	return answer
}

// TestImportIsBounded: a body without end is not read to its end.
func TestImportIsBounded(t *testing.T) {
	s := newSite(t)
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/nodes/import", io.MultiReader(strings.NewReader("mac\n"), endless{}))
	r.Header.Set("Content-Type", "text/csv")
	r.Header.Set("Authorization", "Bearer "+s.tokens.admin)
	if p := s.plane(r).want(t, http.StatusRequestEntityTooLarge).problem(t); p.Code != answer.TooLarge {
		t.Errorf("%+v", p)
	}
}

// endless is a body that does not end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func (s *site) local(method, path, media string, body []byte) *http.Request {
	r := httptest.NewRequestWithContext(s.t.Context(), method, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", media)
	r.Header.Set("Authorization", "Bearer "+s.tokens.admin)
	return r
}

// FuzzImport: whatever is imported, there is a report or a reason, and nothing is
// written that should not be.
func FuzzImport(f *testing.F) {
	s := newSite(f)
	for _, seed := range []string{"mac\n5254000000b1\n", "mac,farmer,runmode,args,kernel,name\n5254000000b1,5,prod,\"a \"\"b\"\"\",used.efi,ü\n", "mac\n\"", "\ufeffMAC\r\n52:54:00:00:00:01\r\n"} {
		f.Add([]byte(seed), true)
	}
	for _, seed := range []string{`[]`, `[{"mac":"5254000000b1","farmer":5}]`, `[{"mac":null},1,"x",[[]]]`, `[{}`, `[{"mac":"5254000000b1"}]x`} {
		f.Add([]byte(seed), false)
	}
	nodes := s.do("GET", "/api/v1/nodes", "").body
	f.Fuzz(func(t *testing.T, body []byte, csv bool) {
		s.t = t
		media := "application/json"
		if csv {
			media = "text/csv"
		}
		answer := s.plane(s.local("POST", "/api/v1/nodes/import?dry-run=1&update=1", media, body))
		if answer.status != http.StatusOK && answer.status != http.StatusBadRequest {
			t.Errorf("status %d: %s", answer.status, answer.body)
		}
		if now := s.plane(s.local("GET", "/api/v1/nodes", media, nil)).body; !bytes.Equal(now, nodes) {
			t.Errorf("a dry run changed something: %s", now)
		}
	})
}

// FuzzNode: whatever a client sends as a node, it is registered so that it is given
// back the same, or refused with a reason.
func FuzzNode(f *testing.F) {
	s := newSite(f)
	for _, seed := range []string{
		`{"mac":"5254000000b1"}`, `{"mac":"52:54:00:00:00:b1","farmer":1234,"runmode":"prod","args":"","kernel":"","name":""}`,
		`{"mac":"5254000000b1","args":"a=\"b c\" ü","name":"\u0000"}`, `{"mac":"5254000000b1","farmer":-1}`, `{"MAC":"5254000000b1","mac":1}`,
		`{"mac":"5254000000b1","farmer":null}`, `{}`, `[]`, `null`, `{"mac":"5254000000b1"}{}`, `{"x":`, `{"mac":"01:00:5e:00:00:01"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s.t = t
		answer := s.plane(s.local("POST", "/api/v1/nodes", "application/json", body))
		switch answer.status {
		case http.StatusCreated:
			path := answer.header.Get("Location")
			if again := s.plane(s.local("GET", path, "application/json", nil)).want(t, http.StatusOK); !bytes.Equal(again.body, answer.body) {
				t.Errorf("registered %s, is %s", answer.body, again.body)
			}
			s.plane(s.local("PUT", path, "application/json", answer.body)).want(t, http.StatusOK)
			s.plane(s.local("DELETE", path, "application/json", nil)).want(t, http.StatusNoContent)
		case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge:
			if p := answer.problem(t); p.Message == "" || strings.Contains(p.Message, "\n") {
				t.Errorf("refused with %+v", p)
			}
		default:
			t.Errorf("status %d: %s", answer.status, answer.body)
		}
	})
}
