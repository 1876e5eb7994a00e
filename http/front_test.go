package http_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	apphttp "farmboot/http"
	"farmboot/provisioning"
)

// serveHandler serves h on loopback until the test ends.
func serveHandler(t *testing.T, h http.Handler) net.Addr {
	t.Helper()
	ln := listen(t)
	cancel, done := serveOn(t, ln, h)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr()
}

// dialogue is a connection on which requests are written as they are.
type dialogue struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, to net.Addr) *dialogue {
	t.Helper()
	conn, err := net.Dial(to.Network(), to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &dialogue{conn, bufio.NewReader(conn)}
}

func (d *dialogue) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(d, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads the next answer, whole.
func (d *dialogue) answer(t *testing.T) (r *http.Response, text string) {
	t.Helper()
	r, err := http.ReadResponse(d.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, body(t, r)
}

// ended fails the test unless the connection has ended.
func (d *dialogue) ended(t *testing.T) {
	t.Helper()
	if b, err := d.in.ReadByte(); err != io.EOF {
		t.Errorf("the connection goes on: %q, %v", b, err)
	}
}

// whichWay answers whether it was called by way of net/http's server: that lends its
// connection's deadlines.
var whichWay = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	way := "short"
	if http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)) == nil {
		way = "long"
	}
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "%s %s %s %s %s", way, r.Method, r.RequestURI, r.Host, r.UserAgent())
})

// TestShortWay: only what is certainly a request for a script goes the short way, and
// nothing is refused that net/http accepts, or the other way round.
func TestShortWay(t *testing.T) {
	at := serveHandler(t, whichWay)
	const node = "/provision/52:54:00:00:00:b1"
	refused := func(status int) string { return fmt.Sprintf("refused: %d", status) }
	for request, want := range map[string]string{
		"GET " + node + " HTTP/1.1\r\nHost: a\r\n\r\n": "short GET " + node + " a ",
		"GET " + node + "?platform=efi&arch=x86_64 HTTP/1.1\r\nConnection: keep-alive\r\nUser-Agent: iPXE/1.21.1 (x)\r\nHost: 10.0.0.1:8080\r\n\r\n": "short GET " + node + "?platform=efi&arch=x86_64 10.0.0.1:8080 iPXE/1.21.1 (x)",
		"GET " + node + " HTTP/1.1\r\nhost:[::1]:80\r\naccept: */*\r\n\r\n":                                                                          "short GET " + node + " [::1]:80 ",

		// It may wait for its answer, and its client be gone meanwhile.
		"GET " + node + "?held=1 HTTP/1.1\r\nHost: a\r\n\r\n":  "long GET " + node + "?held=1 a ",
		"GET " + node + "?waits=1 HTTP/1.1\r\nHost: a\r\n\r\n": "long GET " + node + "?waits=1 a ",

		// Something else, or more than such requests have.
		"HEAD " + node + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":                  "",
		"POST " + node + " HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi":                "long POST " + node + " a ",
		"GET /provision HTTP/1.1\r\nHost: a\r\n\r\n":                                          "long GET /provision a ",
		"GET /kernel/net/prod HTTP/1.1\r\nHost: a\r\n\r\n":                                    "long GET /kernel/net/prod a ",
		"GET http://b" + node + " HTTP/1.1\r\nHost: a\r\n\r\n":                                "long GET http://b" + node + " b ",
		"GET " + node + " HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.9\r\n\r\n":           "long GET " + node + " a ",
		"GET " + node + " HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n":                    "long GET " + node + " a ",
		"GET " + node + " HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello":              "long GET " + node + " a ",
		"GET " + node + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": "long GET " + node + " a ",
		"GET " + node + " HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n": "long GET " + node + " a ",
		"GET " + node + " HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n y\r\n\r\n":                 "long GET " + node + " a x y",
		"GET " + node + " HTTP/1.1\nHost: a\n\n":                                              "long GET " + node + " a ",
		"GET " + node + " HTTP/1.0\r\nHost: a\r\n\r\n":                                        "long GET " + node + " a ",
		"GET " + node + "?" + strings.Repeat("x", 5000) + " HTTP/1.1\r\nHost: a\r\n\r\n":      "long GET " + node + "?" + strings.Repeat("x", 5000) + " a ",

		"GET " + node + "?w%61its=1 HTTP/1.1\r\nHost: a\r\n\r\n": "long GET " + node + "?w%61its=1 a ",
		"GET " + node + "?h%65ld=1 HTTP/1.1\r\nHost: a\r\n\r\n":  "long GET " + node + "?h%65ld=1 a ",

		// Line feeds by themselves, which net/http takes for the end of a line.
		"GET " + node + " HTTP/1.1\r\nAccept:\nContent-Length: 5\r\nHost: a\r\n\r\nhello":   "long GET " + node + " a ",
		"GET " + node + " HTTP/1.1\nContent-Length: 5\nX: HTTP/1.1\r\nHost: a\r\n\r\nhello": "long GET " + node + " a ",
		"GET " + node + " HTTP/1.0\nX: HTTP/1.1\r\nHost: a\r\n\r\n":                         "long GET " + node + " a ",
		"GET " + node + " HTTP/1.1\r\nUser-Agent: x\n\r\nHost: a\r\n\r\n":                   refused(400),
		"GET " + node + " HTTP/1.1\r\nHost:\u00a0a\r\n\r\n":                                 refused(400),

		// No request.
		"GET " + node + " HTTP/1.1\r\n\r\n":                                refused(400),
		"GET " + node + " HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n":          refused(400),
		"GET " + node + " HTTP/1.1\r\nHost: a b\r\n\r\n":                   refused(400),
		"GET " + node + " HTTP/1.1\r\nHost: a\r\nUser-Agent: \x01\r\n\r\n": refused(400),
		"GET " + node + " HTTP/1.1\r\nHost: a\r\nUser Agent: x\r\n\r\n":    refused(400),
		"GET " + node + " HTTP/1.1\r\nHost : a\r\n\r\n":                    refused(400),
		"GET " + node + " HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n":          refused(400),
		"GET /provision/100% HTTP/1.1\r\nHost: a\r\n\r\n":                  refused(400),
		"GET /provision/ x HTTP/1.1\r\nHost: a\r\n\r\n":                    refused(400),
		"GET " + node + " HTTP/2.0\r\nHost: a\r\n\r\n":                     refused(505),
	} {
		d := dial(t, at)
		d.send(t, request)
		if err := d.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		method, _, _ := strings.Cut(request, " ")
		r, err := http.ReadResponse(d.in, &http.Request{Method: method})
		if err != nil {
			t.Errorf("%q: %v", request, err)
			continue
		}
		got := body(t, r)
		if r.StatusCode != http.StatusOK {
			got = refused(r.StatusCode)
		}
		if got != want {
			t.Errorf("%q:\n%q, want\n%q", request, got, want)
		}
		d.ended(t) // it was one request
		d.Close()
	}
}

// FuzzShortWay: whatever comes in is answered as often, and alike, as where net/http alone
// reads it.
func FuzzShortWay(f *testing.F) {
	const node = "GET /provision/x HTTP/1.1\r\n"
	for _, seed := range []string{
		node + "Host: a\r\n\r\n", node + "Host: a\r\n\r\n" + node + "Host: b\r\nConnection: close\r\n\r\n",
		node + "Accept:\nContent-Length: 43\r\nHost: a\r\n\r\n" + node + "Host: b\r\n\r\n",
		"GET /provision/x HTTP/1.1\nContent-Length: 43\nX: HTTP/1.1\r\nHost: a\r\n\r\n" + node + "Host: b\r\n\r\n",
		node + "Host: a\r\nUser-Agent: x\r\n y\r\n\r\nGET /", node + "Host: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n.",
	} {
		f.Add([]byte(seed))
	}
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "%s %q %q %q %q %v", r.Method, r.RequestURI, r.Host, r.UserAgent(), body, err)
	})
	var servers []net.Addr
	for _, hide := range []bool{false, true} {
		ln := listen(f)
		servers = append(servers, ln.Addr())
		if hide {
			ln = noTCP{ln}
		}
		cancel, done := serveOn(f, ln, echo)
		f.Cleanup(func() {
			cancel()
			<-done
		})
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		var heard [2]string
		for i, at := range servers {
			d := dial(t, at)
			// With a last request: net/http says nothing of less than four bytes at an end.
			d.send(t, string(sent)+"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if err := d.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			for {
				r, err := http.ReadResponse(d.in, nil)
				if err != nil {
					break
				}
				text, _ := io.ReadAll(r.Body)
				if r.StatusCode != http.StatusOK {
					text = nil // who refuses has words of his own
				}
				heard[i] += fmt.Sprintf("%d %v %s\n", r.StatusCode, r.Close, text)
			}
			d.Close()
		}
		if heard[0] != heard[1] {
			t.Errorf("%q:\n%s\nand by net/http alone:\n%s", sent, heard[0], heard[1])
		}
	})
}

// noTCP is a listener whose connections no one takes for TCP's.
type noTCP struct{ net.Listener }

func (l noTCP) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{conn}, nil
}

// TestBothWaysAnswerAlike: a header field that changes nothing has net/http's server answer.
func TestBothWaysAnswerAlike(t *testing.T) {
	b := newBench(t)
	b.nodes[mac] = provisioning.Assignment{Registered: true, Node: provisioning.Node{MAC: mac, RunMode: "prod", Farmer: 7}}
	away, held, odd := provisioning.MAC{2, 0, 0, 0, 0, 1}, provisioning.MAC{2, 0, 0, 0, 0, 2}, provisioning.MAC{2, 0, 0, 0, 0, 3}
	b.nodes[away] = provisioning.Assignment{Policy: provisioning.Ignore, Node: provisioning.Node{MAC: away}}
	b.nodes[held] = provisioning.Assignment{Policy: provisioning.Hold, Code: "ABCD-EFGH", Node: provisioning.Node{MAC: held}}
	b.nodes[odd] = provisioning.Assignment{Registered: true, Node: provisioning.Node{MAC: odd, RunMode: "nosuch"}}
	at := serveHandler(t, apphttp.Plane(&b.Boot))
	for _, path := range []string{
		"/provision/" + mac.String(), "/provision/52-54-00-00-00-B1", "/provision//" + mac.String(), "/provision/%35%32:54:00:00:00:b1",
		"/provision/" + mac.String() + "?platform=efi&arch=x86_64&serial=a%20b", "/provision/" + mac.String() + "?failed=kernel",
		"/provision/" + mac.String() + "?failed=x", "/provision/" + away.String(), "/provision/" + held.String(), "/provision/" + odd.String(),
		"/provision/", "/provision/x", "/provision/x/y", "/provision/%2e%2e",
	} {
		var status [2]int
		var texts, headers [2]string
		for i, field := range []string{"", "X-Other: 1\r\n"} {
			d := dial(t, at)
			d.send(t, "GET "+path+" HTTP/1.1\r\nHost: boot.example.org\r\n"+field+"\r\n")
			r, text := d.answer(t)
			if _, err := http.ParseTime(r.Header.Get("Date")); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			r.Header.Del("Date")
			status[i], texts[i], headers[i] = r.StatusCode, text, fmt.Sprint(r.Proto, r.ContentLength, r.TransferEncoding, r.Close, r.Header)
			d.Close()
		}
		if status[0] != status[1] || texts[0] != texts[1] || headers[0] != headers[1] {
			t.Errorf("%s: %d %s\n%s\nand by net/http: %d %s\n%s", path, status[0], headers[0], texts[0], status[1], headers[1], texts[1])
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.events) == 0 || len(b.events)%2 != 0 {
		t.Errorf("%d events", len(b.events))
	}
	for i := 0; i < len(b.events); i += 2 {
		one, two := b.events[i], b.events[i+1]
		if two.At = one.At; one != two || !one.Peer.IsLoopback() {
			t.Errorf("recorded %+v, and by net/http %+v", one, two)
		}
	}
}

// TestOneConnectionBothWays: a node that keeps its connection fetches scripts and files on it,
// however its requests are cut into packets.
func TestOneConnectionBothWays(t *testing.T) {
	at := serveHandler(t, whichWay)
	const script, other = "GET /provision/%d HTTP/1.1\r\nHost: a\r\n\r\n", "GET /kernel/%d HTTP/1.1\r\nHost: a\r\n\r\n"
	d := dial(t, at)
	d.send(t, fmt.Sprintf(script+script, 1, 2)+fmt.Sprintf(other+script, 3, 4))
	for _, want := range []string{"short GET /provision/1", "short GET /provision/2", "long GET /kernel/3", "long GET /provision/4"} {
		if _, got := d.answer(t); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, at := range []net.Addr{at, serveHandler(t, whichWay)} {
		d := dial(t, at)
		d.send(t, fmt.Sprintf(script, 1))
		d.answer(t)
		for _, part := range []string{"GET /provi", "sion/2 HTTP/1.1\r\nHo", "st: a\r\n\r\n"} {
			d.send(t, part)
		}
		if _, got := d.answer(t); !strings.HasSuffix(got, "GET /provision/2 a ") {
			t.Errorf("in parts: %s", got)
		}
		d.send(t, strings.Replace(fmt.Sprintf(script, 3), "Host", "Connection: close\r\nHost", 1))
		if r, _ := d.answer(t); !r.Close {
			t.Errorf("the answer to a last request does not say that it is the last")
		}
		d.ended(t)
	}
}

// TestLastScriptOfAConnection ends it.
func TestLastScriptOfAConnection(t *testing.T) {
	d := dial(t, serveHandler(t, whichWay))
	d.send(t, "GET /provision/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if r, text := d.answer(t); !r.Close || !strings.HasPrefix(text, "short") {
		t.Errorf("%v, %s", r.Header, text)
	}
	d.ended(t)
}

// TestStopWithConnectionsThatAskedForScripts: those that wait are closed.
func TestStopWithConnectionsThatAskedForScripts(t *testing.T) {
	ln, cancel, done := serveBench(t)
	d := dial(t, ln.Addr())
	for range 2 {
		d.send(t, "GET /provision/x HTTP/1.1\r\nHost: a\r\n\r\n")
		d.answer(t)
	}
	half := dial(t, ln.Addr()) // of a second request; net/http has it then
	half.send(t, "GET /provision/x HTTP/1.1\r\nHost: a\r\n\r\n")
	half.answer(t)
	half.send(t, "GET /provi")
	silent := dial(t, ln.Addr())
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	d.ended(t)
	for what, other := range map[string]*dialogue{"half a request came on": half, "asked nothing": silent} {
		if _, err := other.in.ReadByte(); err == nil {
			t.Errorf("the connection that %s goes on", what)
		}
	}
}

// TestStopEndsRequestsThatTakeLong: their contexts end with the grace, whichever way they came.
func TestStopEndsRequestsThatTakeLong(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	ln := listen(t)
	cancel, done := serveOn(t, ln, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	for _, path := range []string{"/provision/x", "/kernel/x"} {
		dial(t, ln.Addr()).send(t, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		<-begun
	}
	cancel()
	<-done // not because of the handlers: they wait for the contexts
	<-ended
	<-ended
}

// TestPanicCostsOneConnection: and not the daemon.
func TestPanicCostsOneConnection(t *testing.T) {
	at := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/provision/bad" {
			panic("a fault")
		}
		whichWay(w, r)
	}))
	bad := dial(t, at)
	bad.send(t, "GET /provision/bad HTTP/1.1\r\nHost: a\r\n\r\n")
	bad.ended(t)
	good := dial(t, at)
	good.send(t, "GET /provision/good HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, got := good.answer(t); !strings.HasPrefix(got, "short GET /provision/good") {
		t.Error(got)
	}
}
