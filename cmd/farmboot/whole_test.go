package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	apphttp "farmboot/http"
	"farmboot/provisioning"
	"farmboot/setup"
)

// adminPlane is the TLS plane of an appliance, on loopback.
type adminPlane struct {
	*appliance
	addr                       string
	admin, farmer, cookie      string // two tokens, and a session of the first
	adminCookie, farmersCookie string // as the legacy calls have tokens
}

// serveAdminPlane serves the whole TLS plane as the daemon does.
func serveAdminPlane(t *testing.T) *adminPlane {
	t.Helper()
	file, _ := daemonConfig(t, t.TempDir())
	cfg, err := setup.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	a, err := assemble(t.Context(), cfg, log, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.authority.Renew(); err != nil { // as listenTLS does
		t.Fatal(err)
	}
	p := &adminPlane{appliance: a}
	root := provisioning.Actor{Name: "root", Role: provisioning.RoleAdmin, From: "cli"}
	if _, p.admin, err = a.registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleAdmin}); err != nil {
		t.Fatal(err)
	}
	if _, p.farmer, err = a.registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: 5}); err != nil {
		t.Fatal(err)
	}
	session, err := a.registry.SignIn(t.Context(), p.admin)
	if err != nil {
		t.Fatal(err)
	}
	p.cookie, p.adminCookie, p.farmersCookie = "__Host-farmboot="+session, "token="+p.admin, "token="+p.farmer
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- apphttp.Serve(ctx, apphttp.TLSListener(ln, a.authority.Config()), apphttp.Plane(a.boot, a.pages, a.admin, a.api), log)
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, a.close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestPlainHTTPOnTheTLSPort: who forgets https:// is told so.
func TestPlainHTTPOnTheTLSPort(t *testing.T) {
	p := serveAdminPlane(t)
	status, text := request(t, http.DefaultClient, http.MethodGet, "http://"+p.addr+"/admin")
	if status != http.StatusBadRequest || text != "bad request: this port takes TLS alone: write https:// before the address, or ask the port for plain HTTP\n" {
		t.Errorf("status %d, %q", status, text)
	}
}

// upload is a request with a body that is refused.
type upload struct {
	name, method, path string
	header             []string // name: value
	head, tail         string   // of the body, before and behind what is long
	status             int
	says               string
}

// uploads are a refusal of each kind.
func (p *adminPlane) uploads() []upload {
	form := func(field, name string) (head, tail string) {
		return "--xyz\r\nContent-Disposition: form-data; name=\"" + field + "\"; filename=\"" + name + "\"\r\n\r\nMZ", "\r\n--xyz--\r\n"
	}
	const multipart = "Content-Type: multipart/form-data; boundary=xyz"
	kernelHead, tail := form("kernel", "../x.efi")
	otherHead, _ := form("kernel", "x.efi")
	pageHead, _ := form("file", ".hidden")
	bearer := func(token string) string { return "Authorization: Bearer " + token }
	return []upload{
		{"PUT with a wrong token", "PUT", "/api/v1/kernels/x.efi", []string{bearer("farmboot_x_y")}, "MZ", "", 401, "token"},
		{"PUT with a bad name", "PUT", "/api/v1/kernels/.hidden", []string{bearer(p.admin)}, "MZ", "", 400, "bad kernel name"},
		{"PUT of a form", "PUT", "/api/v1/kernels/x.efi", []string{bearer(p.admin), multipart}, kernelHead, tail, 415, "accepted is"},
		{"node that is too long", "POST", "/api/v1/nodes", []string{bearer(p.admin)}, `{"name":"`, `"}`, 413, "longer than 65536 bytes"},
		{"legacy with a wrong token", "POST", "/api/kernel", []string{"Cookie: token=farmboot_x_y", multipart}, otherHead, tail, 401, "no valid token"},
		{"legacy of a farmer", "POST", "/api/kernel", []string{"Cookie: " + p.farmersCookie, multipart}, otherHead, tail, 403, "only an admin"},
		{"legacy with a bad name", "POST", "/api/kernel", []string{"Cookie: " + p.adminCookie, multipart}, kernelHead, tail, 400, "bad kernel name"},
		{"page with a bad name", "POST", "/admin/kernels", []string{"Cookie: " + p.cookie, multipart}, pageHead, tail, 400, "bad kernel name"},
		{"page of another site", "POST", "/admin/kernels", []string{"Cookie: " + p.cookie, multipart, "Sec-Fetch-Site: cross-site"}, pageHead, tail, 403, "another site"},
		{"sign-in that is too long", "POST", "/admin/signin", []string{"Content-Type: application/x-www-form-urlencoded"}, "token=", "", 413, "longer than 65536 bytes"},
		{"boot plane", "POST", "/ipxe/prod", nil, "x", "", 405, "accepted are GET and HEAD"},
	}
}

// filler is n bytes that fit into any of the bodies.
func filler(n int64) io.Reader { return io.LimitReader(xs{}, n) }

type xs struct{}

func (xs) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// client sends an upload whose long part has size bytes, and returns status and body of
// the answer.
type client func(t *testing.T, p *adminPlane, u upload, size int64) (status int, body string, err error)

// sendAllThenRead is a client that reads nothing before it has sent all.
func sendAllThenRead(t *testing.T, p *adminPlane, u upload, size int64) (int, string, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(waitLimit)); err != nil {
		return 0, "", err
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", u.method, u.path, size+int64(len(u.head)+len(u.tail)))
	for _, h := range u.header {
		head += h + "\r\n"
	}
	if _, err := io.Copy(conn, io.MultiReader(strings.NewReader(head+"\r\n"+u.head), filler(size), strings.NewReader(u.tail))); err != nil {
		return 0, "", err
	}
	return readAnswer(conn)
}

func readAnswer(from io.Reader) (int, string, error) {
	r, err := http.ReadResponse(bufio.NewReader(from), nil)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return r.StatusCode, string(body), err
}

// chunked is a client that sends and reads at a time, and does not say how much it will
// send.
func chunked(t *testing.T, p *adminPlane, u upload, size int64) (int, string, error) {
	t.Helper()
	body := io.MultiReader(strings.NewReader(u.head), filler(size), strings.NewReader(u.tail))
	r, err := http.NewRequestWithContext(t.Context(), u.method, "https://"+p.addr+u.path, io.NopCloser(body))
	if err != nil {
		return 0, "", err
	}
	for _, h := range u.header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// curl asks whether it may send ("Expect: 100-continue"), and sends if it is not told in
// a second.
func curl(t *testing.T, p *adminPlane, u upload, size int64) (int, string, error) {
	t.Helper()
	args := []string{"--silent", "--show-error", "--insecure", "--max-time", "60", "--include", "--http1.1", "--request", u.method, "--upload-file", "-", "--header", "Expect: 100-continue"}
	for _, h := range u.header {
		args = append(args, "--header", h)
	}
	args = append(args, "--header", fmt.Sprintf("Content-Length: %d", size+int64(len(u.head)+len(u.tail))), "--header", "Transfer-Encoding:")
	cmd := exec.CommandContext(t.Context(), "curl", append(args, "https://"+p.addr+u.path)...)
	cmd.Stdin = io.MultiReader(strings.NewReader(u.head), filler(size), strings.NewReader(u.tail))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) || stderr.Len() > 0 {
		return 0, "", fmt.Errorf("%w: %s", err, &stderr) // that its stdin broke off is no failure of curl
	}
	out := bufio.NewReader(&stdout)
	for {
		if head, _ := out.Peek(12); string(head) != "HTTP/1.1 100" {
			return readAnswer(out)
		}
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				return 0, "", err
			}
			if line == "\r\n" {
				break
			}
		}
	}
}

// tries is 100 in make uploads.
var tries = flag.Int("tries", 2, "how often each refused upload is tried, by each kind of client")

// TestRefusalsAreReadWhole: whoever sends what is refused reads why, however much he
// sends and however he does it (golang/go 68715, caddy 4558, httpie 600).
func TestRefusalsAreReadWhole(t *testing.T) {
	p := serveAdminPlane(t)
	for name, send := range map[string]client{"all before it reads": sendAllThenRead, "chunked": chunked, "curl": curl} {
		for _, u := range p.uploads() {
			t.Run(u.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				const size = 1 << 20
				for i := range *tries {
					status, body, err := send(t, p, u, size)
					slowedDown := u.status == http.StatusUnauthorized && status == http.StatusTooManyRequests && strings.Contains(body, "wait some seconds")
					if !slowedDown && (err != nil || status != u.status || !strings.Contains(body, u.says)) {
						t.Fatalf("try %d of %d: status %d, want %d; %v; %q", i+1, *tries, status, u.status, err, body)
					}
				}
				// More than all buffers between the two hold.
				if status, _, err := send(t, p, u, 24<<20); err != nil || status != u.status && status != http.StatusTooManyRequests {
					t.Errorf("24 MB: status %d, want %d; %v", status, u.status, err)
				}
			})
		}
	}
}

// TestHalfClosedIsNoSuccess: a client that closes its side behind its request is served,
// or reads that it is not.
func TestHalfClosedIsNoSuccess(t *testing.T) {
	p := serveAdminPlane(t)
	for i := range 100 {
		mac := fmt.Sprintf("52:54:00:00:01:%02x", i)
		body := `{"mac":"` + mac + `","farmer":5}`
		conn, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "POST /api/v1/nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", p.admin, len(body), body)
		if err = errors.Join(err, conn.SetDeadline(time.Now().Add(waitLimit)), conn.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		status, text, err := readAnswer(conn)
		conn.Close()
		stored := true
		if m, parseErr := provisioning.ParseMAC(mac); parseErr != nil {
			t.Fatal(parseErr)
		} else if _, err := p.store.Node(t.Context(), m); err != nil {
			stored = false
		}
		switch {
		case err != nil && !stored, status == http.StatusCreated && stored, status >= 400 && !stored && text != "":
		default:
			t.Errorf("try %d: status %d %q, %v; stored: %v", i+1, status, text, err, stored)
		}
	}
}
