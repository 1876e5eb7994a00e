package api_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"farmboot/provisioning"
)

// kernelInfo is a kernel as the API shows it.
type kernelInfo struct {
	Name, SHA256, Target string
	Size                 int64
	RunModes             []string
}

func sum(text string) []byte {
	h := sha256.Sum256([]byte(text))
	return h[:]
}

// files lists the kernel folder.
func (s *site) files() string {
	s.t.Helper()
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

const before = "free.efi net old.efi used.efi" // in the kernel folder, from the start

var binary = header("Content-Type", "application/octet-stream")

func TestKernels(t *testing.T) {
	s := newSite(t)
	text := kernelText("new")
	r := s.do("PUT", "/api/v1/kernels/new.efi", text, binary, header("X-Content-SHA256", hex.EncodeToString(sum(text)))).want(t, http.StatusCreated)
	if r.header.Get("Location") != "/api/v1/kernels/new.efi" {
		t.Errorf("Location %q", r.header.Get("Location"))
	}
	if k := decode[kernelInfo](t, r); k.Name != "new.efi" || k.Size != int64(len(text)) || k.SHA256 != hex.EncodeToString(sum(text)) || len(k.RunModes) != 0 {
		t.Errorf("%+v", k)
	}
	s.do("PUT", "/api/v1/kernels/new.efi", kernelText("newer"), binary).want(t, http.StatusOK)
	for _, name := range []string{"Content-Digest", "Repr-Digest"} {
		s.do("PUT", "/api/v1/kernels/new.efi", text, binary, header(name, "md5=:x:, sha-256=:"+base64.StdEncoding.EncodeToString(sum(text))+":")).want(t, http.StatusOK)
	}
	s.do("PUT", "/api/v1/kernels/new.efi?sha256="+strings.ToUpper(hex.EncodeToString(sum(text))), text, binary, header("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum(text))+":")).want(t, http.StatusOK)
	s.do("PUT", "/api/v1/kernels/new.efi", text, binary, header("Digest", "SHA-256="+base64.StdEncoding.EncodeToString(sum(text)))).want(t, http.StatusOK)

	k := decode[kernelInfo](t, s.do("PUT", "/api/v1/kernels/net/dev", `{"kernel":"new.efi"}`).want(t, http.StatusOK))
	if fmt.Sprint(k.RunModes) != "[dev]" {
		t.Errorf("%+v", k)
	}
	for _, test := range []struct {
		path, body string
		status     int
	}{
		{"net/dev", `{"kernel":"absent.efi"}`, 404},
		{"net/dev", `{"kernel":"../x"}`, 404},
		{"net/dev", `{"kernel":""}`, 400},
		{"net/dev", `{}`, 400},
		{"net/proud", `{"kernel":"new.efi"}`, 404},
		{"net/..%2Fdev", `{"kernel":"new.efi"}`, 404},
	} {
		s.do("PUT", "/api/v1/kernels/"+test.path, test.body).want(t, test.status)
	}
	s.do("DELETE", "/api/v1/kernels/new.efi", "").want(t, http.StatusConflict)
	s.do("PUT", "/api/v1/kernels/net/dev", `{"kernel":"old.efi"}`).want(t, http.StatusOK)
	s.do("PUT", "/api/v1/nodes/"+node1, `{"kernel":"new.efi"}`).want(t, http.StatusOK)
	s.do("PUT", "/api/v1/nodes/"+node2, `{"kernel":"new.efi"}`).want(t, http.StatusOK)
	if p := s.do("DELETE", "/api/v1/kernels/new.efi", "").want(t, http.StatusConflict).problem(t); !strings.Contains(p.Message, node1) {
		t.Error(p.Message)
	}
	s.do("PUT", "/api/v1/nodes/"+node1, `{"kernel":""}`).want(t, http.StatusOK)
	s.do("PUT", "/api/v1/nodes/"+node2, `{"kernel":"","args":"x=new.efi"}`).want(t, http.StatusOK) // only mentions it
	s.do("DELETE", "/api/v1/kernels/new.efi", "").want(t, http.StatusNoContent)
	for _, name := range []string{"new.efi", "..%2Fseed.db", "net", ".hidden"} {
		s.do("GET", "/api/v1/kernels/"+name, "").want(t, http.StatusNotFound)
		s.do("DELETE", "/api/v1/kernels/"+name, "").want(t, http.StatusNotFound)
	}
	var history []string
	for _, c := range decode[[]provisioning.Change](t, s.do("GET", "/api/v1/history?limit=14", "").want(t, http.StatusOK)) {
		if strings.HasPrefix(c.Action, "kernel") {
			history = append(history, c.Action+" "+c.Subject)
			if (c.After == nil) != (c.Action == "kernel rm") {
				t.Errorf("history: %s %s, before %s, after %s", c.Action, c.Subject, c.Before, c.After)
			}
		}
	}
	if got := strings.Join(history, ", "); got != "kernel rm new.efi, kernel link net/dev.efi, kernel link net/dev.efi, kernel set new.efi, kernel set new.efi, kernel set new.efi, kernel set new.efi, kernel set new.efi, kernel add new.efi" {
		t.Errorf("history: %s", got)
	}
	var names []string
	for _, k := range decode[[]kernelInfo](t, s.do("GET", "/api/v1/kernels", "").want(t, http.StatusOK)) {
		names = append(names, fmt.Sprint(k.Name, k.RunModes))
	}
	if got := strings.Join(names, " "); got != "free.efi[] old.efi[dev] used.efi[prod]" {
		t.Errorf("kernels %s", got)
	}
}

// TestPointKeepsRealFiles: a default kernel that somebody put there as a real file is
// kept under another name when the run mode is given another kernel.
func TestPointKeepsRealFiles(t *testing.T) {
	s := newSite(t)
	byHand := kernelText("put there by hand")
	if err := os.WriteFile(filepath.Join(s.folder, "net", "qa.efi"), []byte(byHand), 0o644); err != nil {
		t.Fatal(err)
	}
	if k := decode[kernelInfo](t, s.do("PUT", "/api/v1/kernels/net/qa", `{"kernel":"free.efi"}`).want(t, http.StatusOK)); fmt.Sprint(k.RunModes) != "[qa]" {
		t.Errorf("%+v", k)
	}
	kept := "qa-" + hex.EncodeToString(sum(byHand))[:12] + ".efi"
	if k := decode[kernelInfo](t, s.do("GET", "/api/v1/kernels/"+kept, "").want(t, http.StatusOK)); k.SHA256 != hex.EncodeToString(sum(byHand)) {
		t.Errorf("%+v", k)
	}
}

// TestForcedKernel: what is no kernel by its own header is stored by force, and shown
// as what it is.
func TestForcedKernel(t *testing.T) {
	s := newSite(t)
	text := kernelText("new")
	for _, file := range []string{"#!ipxe\nexit\n", text[:len(text)-1]} {
		k := decode[struct{ Format, Problem string }](t, s.do("PUT", "/api/v1/kernels/x.efi?force=true", file, binary))
		if k.Problem == "" {
			t.Errorf("%q: %+v", file, k)
		}
	}
	s.do("PUT", "/api/v1/kernels/net/dev", `{"kernel":"x.efi"}`).want(t, http.StatusBadRequest)
	s.do("PUT", "/api/v1/kernels/net/dev?force=true", `{"kernel":"x.efi"}`).want(t, http.StatusOK)
	longer := decode[struct{ Format, Problem string }](t, s.do("PUT", "/api/v1/kernels/x.efi", text+"a signature", binary).want(t, http.StatusOK))
	if longer.Format != "efi" || longer.Problem != "" {
		t.Errorf("%+v", longer)
	}
}

// TestEmptyKernel: a file without content that somebody put into the folder is listed, and
// shown as what it is.
func TestEmptyKernel(t *testing.T) {
	s := newSite(t)
	if err := os.WriteFile(filepath.Join(s.folder, "blank.efi"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	type info struct {
		Name, Problem string
		Size          int64
	}
	one := decode[info](t, s.do("GET", "/api/v1/kernels/blank.efi", "").want(t, http.StatusOK))
	if !strings.HasPrefix(one.Problem, "not a kernel: blank.efi is empty; ") || one.Size != 0 {
		t.Errorf("%+v", one)
	}
	if all := decode[[]info](t, s.do("GET", "/api/v1/kernels", "").want(t, http.StatusOK)); !slices.Contains(all, one) {
		t.Errorf("not in the list: %+v", all)
	}
	s.do("PUT", "/api/v1/kernels/net/dev", `{"kernel":"blank.efi"}`).want(t, http.StatusBadRequest)
	s.do("DELETE", "/api/v1/kernels/blank.efi", "").want(t, http.StatusNoContent)
}

// TestRefusedUploads: nothing of them is left.
func TestRefusedUploads(t *testing.T) {
	s := newSite(t)
	text := kernelText("x")
	for _, test := range []struct {
		name, path, body string
		status           int
		options          []func(*http.Request)
	}{
		{"wrong digest", "x.efi", text, 400, []func(*http.Request){header("X-Content-SHA256", strings.Repeat("0", 64))}},
		{"bad digest", "x.efi", text, 400, []func(*http.Request){header("X-Content-SHA256", "0")}},
		{"wrong Content-Digest", "x.efi", text, 400, []func(*http.Request){header("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum("y"))+":")}},
		{"Content-Digest that is none", "x.efi", text, 400, []func(*http.Request){header("Content-Digest", "nonsense")}},
		{"Digest without a value", "x.efi", text, 400, []func(*http.Request){header("Digest", "md5=x, sha-256=")}},
		{"wrong digest in the address", "x.efi?sha256=" + strings.Repeat("0", 64), text, 400, nil},
		{"bad digest in the address", "x.efi?sha256=0", text, 400, nil},
		{"no digest in the address", "x.efi?sha256=", text, 400, nil},
		{"two digests", "x.efi?sha256=" + hex.EncodeToString(sum(text)), text, 400, []func(*http.Request){header("X-Content-SHA256", strings.Repeat("0", 64))}},
		{"another parameter", "x.efi?sha-256=" + hex.EncodeToString(sum(text)), text, 400, nil},
		{"bad Content-Digest", "x.efi", text, 400, []func(*http.Request){header("Content-Digest", "sha-256=:x:")}},
		{"a web page", "x.efi", " <html>", 400, nil},
		{"no kernel", "x.efi", "#!ipxe", 400, nil},
		{"half a kernel", "x.efi", text[:len(text)-1], 400, nil},
		{"no force", "x.efi?force=false", text[:len(text)-1], 400, nil},
		{"empty", "x.efi", "", 400, nil},
		{"a form", "x.efi", text, 415, []func(*http.Request){header("Content-Type", "multipart/form-data; boundary=x")}},
		{"a digest's name", "x.efi.sha256", text, 400, nil},
		{"hidden", ".x.efi", text, 400, nil},
		{"elsewhere", "..%2Fx.efi", text, 400, nil},
		{"a folder", "net", text, 409, nil},
		{"NUL", "x%00.efi", text, 400, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.do("PUT", "/api/v1/kernels/"+test.path, test.body, append([]func(*http.Request){binary}, test.options...)...).want(t, test.status)
			if got := s.files(); got != before {
				t.Errorf("files: %s", got)
			}
		})
	}
	r := s.request("PUT", "/api/v1/kernels/x.efi", s.tokens.admin, "", binary)
	r.Body, r.ContentLength = http.NoBody, 0
	s.send(r).want(t, http.StatusBadRequest)
}

// dial sends raw bytes to the site, as a client does whose line breaks.
func (s *site) dial(t *testing.T, request string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(waitLimit)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAbortedUploads: neither half a file nor a temporary one is left, nor is the
// kernel touched that was to be replaced.
func TestAbortedUploads(t *testing.T) {
	s := newSite(t)
	for name, request := range map[string]string{
		"PUT":          "PUT /api/v1/kernels/old.efi HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\nMZ half",
		"PUT, chunked": "PUT /api/v1/kernels/old.efi HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nMZ half\r\n",
		"form":         "POST /api/kernel HTTP/1.1\r\nHost: x\r\nCookie: token=%s\r\nContent-Type: multipart/form-data; boundary=" + boundary + "\r\nContent-Length: 1000000\r\n\r\n" + strings.TrimSuffix(kernelForm("old.efi", "MZ half"), "\r\n--"+boundary+"--\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial(t, fmt.Sprintf(request, s.tokens.admin))
			// The upload has begun when its temporary file is there.
			for end := time.Now().Add(waitLimit); !strings.Contains(s.files(), ".new-"); {
				if time.Now().After(end) {
					t.Fatalf("no upload begins: %s", s.files())
				}
			}
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d", res.StatusCode)
			}
			if got := s.files(); got != before {
				t.Errorf("files: %s", got)
			}
			if got, err := os.ReadFile(filepath.Join(s.folder, "old.efi")); err != nil || string(got) != kernelText("old.efi") {
				t.Errorf("old.efi is %q, %v", got, err)
			}
		})
	}
}

// TestDiskErrors: what the disk refuses is said so, and may be tried again.
func TestDiskErrors(t *testing.T) {
	s := newSite(t)
	// A file in the place of the folder fails for root too.
	if err := os.RemoveAll(s.folder); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.do("PUT", "/api/v1/kernels/x.efi", kernelText("x"), binary).want(t, http.StatusServiceUnavailable)
	if p := r.problem(t); p.Code != "unavailable" || r.header.Get("Retry-After") == "" {
		t.Errorf("%+v, %v", p, r.header)
	}
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	s.do("GET", "/api/v1/nodes", "").want(t, http.StatusInternalServerError)
}

// TestCanary: a kernel is tried on some nodes, promoted, and gone back from.
func TestCanary(t *testing.T) {
	s := newSite(t)
	const prod = "/api/v1/kernels/net/prod"
	s.do("PUT", "/api/v1/kernels/new.efi", kernelText("new"), binary).want(t, http.StatusCreated)
	for _, body := range []string{`{"kernel":"new.efi","canary":"some"}`, `{"kernel":"new.efi","canary":"0"}`, `{"kernel":"new.efi","canary":"120%"}`} {
		s.do("PUT", prod, body).want(t, http.StatusBadRequest)
	}
	s.do("PUT", prod, `{"kernel":"absent.efi","canary":"5%"}`).want(t, http.StatusNotFound)
	s.do("PUT", prod, `{"kernel":"new.efi","canary":"52:54:00:00:00:77"}`).want(t, http.StatusOK)

	type history struct {
		Canary *struct {
			Kernel string
			Nodes  []string
			Known  int
		}
		Generations []struct{ Kernel string }
	}
	h := decode[history](t, s.do("GET", prod, "").want(t, http.StatusOK))
	if h.Canary == nil || h.Canary.Kernel != "new.efi" || fmt.Sprint(h.Canary.Nodes) != "[52:54:00:00:00:77]" || h.Generations[0].Kernel != "used.efi" {
		t.Errorf("while it is tried: %+v", h)
	}
	if p := s.do("DELETE", "/api/v1/kernels/new.efi", "").want(t, http.StatusConflict).problem(t); !strings.Contains(p.Message, "run mode prod tries it on some nodes") {
		t.Errorf("a candidate is removed: %+v", p)
	}
	h = decode[history](t, s.do("POST", prod+"/promote", "").want(t, http.StatusOK))
	if h.Canary != nil || h.Generations[0].Kernel != "new.efi" {
		t.Errorf("promoted: %+v", h)
	}
	s.do("POST", prod+"/promote", "").want(t, http.StatusNotFound)
	h = decode[history](t, s.do("POST", prod+"/rollback", "").want(t, http.StatusOK))
	if h.Generations[0].Kernel != "used.efi" {
		t.Errorf("back: %+v", h)
	}
	s.do("POST", "/api/v1/kernels/net/proud/rollback", "").want(t, http.StatusNotFound)
}
