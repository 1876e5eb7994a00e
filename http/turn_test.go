package http_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	apphttp "farmboot/http"
	"farmboot/http/admission"
	"farmboot/provisioning"
)

// farmNode is iPXE as far as it boots from us.
type farmNode struct {
	mac    string
	client *http.Client
	base   string
	link   *rate.Limiter // that all share
}

var (
	chainForm  = regexp.MustCompile(`(?m)^chain \S+ \S+ http://192\.0\.2\.1(/provision/\S+)\$\{others\} \|\|$`)
	sleepForm  = regexp.MustCompile(`(?m)^:ask\nsleep (\d+)$`)
	kernelForm = regexp.MustCompile(`(?m)^imgfetch http://192\.0\.2\.1(/kernel/\S+) \|\| goto failed$`)
	placeForm  = regexp.MustCompile(`place [. ]*(\d+) of (\d+)`)
)

func (n *farmNode) get(ctx context.Context, path string, to io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "iPXE/1.21.1+")
	resp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	part := make([]byte, 32<<10)
	for {
		m, err := resp.Body.Read(part)
		if e := n.link.WaitN(ctx, m); e != nil {
			return e
		}
		_, _ = to.Write(part[:m])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// boot does what the scripts say, until it has its kernel.
// arrived is told of each part of that.
func (n *farmNode) boot(ctx context.Context, arrived func(int)) (kernel []byte, waits int, err error) {
	path := "/provision/" + n.mac + "?platform=efi&arch=x86_64&also="
	for {
		var script bytes.Buffer
		if err := n.get(ctx, path, &script); err != nil {
			return nil, waits, err
		}
		if m := kernelForm.FindStringSubmatch(script.String()); m != nil {
			got := counted{arrived: arrived}
			err := n.get(ctx, m[1], &got)
			return got.Bytes(), waits, err
		}
		m := chainForm.FindStringSubmatch(script.String())
		if m == nil || !placeForm.MatchString(script.String()) {
			return nil, waits, fmt.Errorf("a script that neither boots nor waits:\n%s", &script)
		}
		path, waits = m[1], waits+1
		if s := sleepForm.FindStringSubmatch(script.String()); s != nil {
			pause, err := time.ParseDuration(s[1] + "s")
			if err != nil {
				return nil, waits, err
			}
			<-time.After(pause)
		}
	}
}

// counted is a buffer that tells what is written into it.
type counted struct {
	bytes.Buffer
	arrived func(int)
}

func (c *counted) Write(p []byte) (int, error) {
	c.arrived(len(p))
	return c.Buffer.Write(p)
}

// storm has nodes boot at once, and returns how many bytes of kernels had arrived in all
// when each had its own, in order; and how many had to wait.
func storm(t *testing.T, nodes int, want []byte, turns *admission.Control) (finished []int64, waited int) {
	t.Helper()
	b := newBench(t)
	b.Now, b.Turns = time.Now, turns
	b.write("net/prod.efi", string(want))
	for i := range nodes {
		m := provisioning.MAC{0x52, 0x54, 0, 0, 1, byte(i)}
		b.nodes[m] = provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: provisioning.Node{MAC: m, RunMode: "prod", Farmer: provisioning.FarmerID(1 + i%3)}}
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- apphttp.Serve(ctx, ln, apphttp.Plane(&b.Boot), slog.New(slog.DiscardHandler)) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	// What has gone out has arrived: little fits into these buffers.
	dialer := &net.Dialer{}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return conn, conn.(*net.TCPConn).SetReadBuffer(16 << 10)
		},
	}}
	shared := rate.NewLimiter(32<<20, 64<<10)
	var mu sync.Mutex
	var carried atomic.Int64
	var all sync.WaitGroup
	for m := range b.nodes {
		all.Go(func() {
			n := &farmNode{mac: m.String(), client: client, base: "http://" + ln.Addr().String(), link: shared}
			kernel, waits, err := n.boot(t.Context(), func(part int) { carried.Add(int64(part)) })
			if err != nil {
				t.Error(err)
			}
			if !bytes.Equal(kernel, want) {
				t.Errorf("%v has %d bytes of its kernel, want %d", m, len(kernel), len(want))
			}
			mu.Lock()
			defer mu.Unlock()
			waited += min(waits, 1)
			finished = append(finished, carried.Load())
		})
	}
	all.Wait()
	if sent := carried.Load(); sent != int64(nodes*len(want)) {
		t.Errorf("%d bytes went out for %d nodes", sent, nodes)
	}
	slices.Sort(finished)
	return finished, waited
}

// TestStormOfNodes: nodes follow their scripts over real connections, through a link that
// all share. All get their kernel whole, and no byte goes out twice, so that the last has
// it no later than in a free-for-all; with admission the first have it when much less has
// gone out.
func TestStormOfNodes(t *testing.T) {
	const nodes, size = 80, 1 << 20
	want := append([]byte("MZ"), bytes.Repeat([]byte("a kernel"), size/8)...)
	free, none := storm(t, nodes, want, nil)
	ours, waited := storm(t, nodes, want, apphttp.NewAdmission(time.Now))
	t.Logf("bytes that had gone out when the first, the median and the last node had its kernel: free-for-all %d, %d, %d; admission %d, %d, %d",
		free[0], free[nodes/2], free[nodes-1], ours[0], ours[nodes/2], ours[nodes-1])
	if none != 0 || waited < nodes/4 {
		t.Errorf("%d waited in a free-for-all, and %d of %d with admission", none, waited, nodes)
	}
	if f, o := mean(free), mean(ours); o > f*85/100 {
		t.Errorf("a node has its kernel after %d bytes on average, in a free-for-all after %d", o, f)
	}
}

func mean(list []int64) (m int64) {
	for _, n := range list {
		m += n
	}
	return m / int64(len(list))
}

// fullLink is an admission in which as many kernels are under way as there may be.
func fullLink(now func() time.Time) *admission.Control {
	c := admission.New(now, 64)
	for i := range 16 {
		m := provisioning.MAC{2, 0, 0, 0, 0, byte(i)}
		c.Ask(m, 0, true)
		c.Begin(m, func() int64 { return 0 })
	}
	return c
}

// TestNodeWaits: what a node gets that has to wait, what is recorded of it, and who never
// waits.
func TestNodeWaits(t *testing.T) {
	const mac = "52:54:00:00:00:01"
	m, err := provisioning.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	newFull := func(t *testing.T) *bench {
		b := newBench(t)
		b.Turns = fullLink(b.Now)
		b.nodes[m] = provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Once: true, Node: provisioning.Node{MAC: m, RunMode: "prod"}}
		b.Consume = func(context.Context, provisioning.Assignment) error { return errors.New("it has not booted yet") }
		return b
	}
	b := newFull(t)
	consumed := false
	b.Consume = func(context.Context, provisioning.Assignment) error { consumed = true; return nil }
	script := body(t, b.do("GET", "/provision/"+mac+"?also=", "User-Agent", "iPXE/1.21.1"))
	if !placeForm.MatchString(script) || kernelForm.MatchString(script) || consumed {
		t.Errorf("it does not wait: consumed %v\n%s", consumed, script)
	}
	if len(b.events) != 1 || b.events[0].Stage != provisioning.StageWait || b.events[0].MAC != m ||
		b.events[0].Cause != (provisioning.Cause{ID: provisioning.CauseQueued, Size: 1, Limit: 1}) {
		t.Errorf("events %+v", b.events)
	}
	for name, ask := range map[string]func(b *bench) *http.Response{
		"a program that looks at scripts": func(b *bench) *http.Response { return b.do("GET", "/provision/"+mac, "User-Agent", "curl/8") },
		"HEAD":                            func(b *bench) *http.Response { return b.do("HEAD", "/provision/"+mac, "User-Agent", "iPXE/1.21.1") },
		"the script of an image":          func(b *bench) *http.Response { return b.do("GET", "/ipxe/prod/7", "User-Agent", "iPXE/1.21.1") },
		"a kernel": func(b *bench) *http.Response {
			return b.do("GET", "/kernel/net/prod.efi?mac="+mac, "User-Agent", "iPXE/1.21.1")
		},
		"a kernel without a MAC address": func(b *bench) *http.Response { return b.do("GET", "/kernel/zos.efi", "User-Agent", "iPXE/1.21.1") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newFull(t)
			b.Consume = nil
			if r := ask(b); r.StatusCode != http.StatusOK || strings.Contains(body(t, r), "waits for its turn") {
				t.Error("it has to wait")
			}
			if s := b.Turns.State(); s.Waiting != 0 {
				t.Errorf("%d wait", s.Waiting)
			}
		})
	}
	t.Run("missing kernel", func(t *testing.T) {
		b := newFull(t)
		b.nodes[m] = provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: m, RunMode: "test"}}
		if script := body(t, b.do("GET", "/provision/"+mac, "User-Agent", "iPXE/1.21.1")); !strings.Contains(script, "cannot be booted yet") {
			t.Errorf("it is not told:\n%s", script)
		}
	})
}

// TestCalledNodeBootsAtOnce: a node that is left waiting gets its script the moment
// another one has its kernel, with the kernel that it is to boot by then.
func TestCalledNodeBootsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Now = time.Now
		b.Turns = apphttp.NewAdmission(time.Now)
		m := provisioning.MAC{0x52, 0x54, 0, 0, 0, 1}
		b.nodes[m] = provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: m, RunMode: "prod"}}
		var last *admission.Download
		for i := range 16 {
			other := provisioning.MAC{2, 0, 0, 0, 0, byte(i)}
			b.Turns.Ask(other, 0, true)
			last = b.Turns.Begin(other, func() int64 { return 0 })
		}
		ask := func() string { return body(t, b.do("GET", "/provision/52:54:00:00:00:01?waits=1&also=")) }
		begun := time.Now()
		if script := ask(); !strings.Contains(script, "place 1 of 1") || time.Since(begun) != 10*time.Second {
			t.Errorf("after %v:\n%s", time.Since(begun), script)
		}
		if len(b.events) != 1 {
			t.Errorf("events %+v", b.events)
		}
		b.mu.Lock()
		b.nodes[m] = provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: m, RunMode: "prod", Kernel: "zos.efi"}}
		b.mu.Unlock()
		begun = time.Now()
		script := make(chan string)
		go func() { script <- ask() }()
		time.AfterFunc(3*time.Second, func() { last.End(1<<20, true) })
		if s := <-script; !strings.Contains(s, "/kernel/zos.efi?mac=") || time.Since(begun) != 3*time.Second {
			t.Errorf("after %v:\n%.60s", time.Since(begun), s)
		}
	})
}
