package upstream_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"aead.dev/minisign"

	"farmboot/ipxe/kernel"
	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
)

// limits are short enough for tests, and long enough for a busy machine.
var limits = upstream.Limits{Answer: 5 * time.Second, Stall: 300 * time.Millisecond, Window: 1 << 10, Tries: 4, Pause: time.Millisecond}

// bench is an appliance with an upstream.
type bench struct {
	*upstream.Upstream
	store *kernel.Store
	dir   string
	asked atomic.Int64 // requests for kernels
}

// newBench returns an appliance that takes kernels from what h serves.
func newBench(t *testing.T, h http.Handler, change ...func(*upstream.Options)) *bench {
	t.Helper()
	b := &bench{dir: filepath.Join(t.TempDir(), "kernel")}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, ".efi") {
			b.asked.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b.store = kernel.Open(b.dir, filepath.Join(b.dir, "net"))
	o := upstream.Options{
		Base: server.URL, Keep: 2, Modes: []provisioning.RunMode{"prod", "test"}, Client: upstream.NewClient(limits),
		Store: b.store, Editor: kernel.NewEditor(b.store, kerneltest.NoNodes{}), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now,
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if b.Upstream, err = upstream.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	b.store.SetUpstream(b.Upstream)
	return b
}

// site is a web server with kernels; a plain one, as net/http makes it.
type site map[string]string

func (s site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, ok := s[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Etag", fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(text))))
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
}

// big is a kernel larger than all buffers, that is like no other.
func big(what string) string {
	return kerneltest.EFI(what + strings.Repeat(what+" ", 600_000/len(what)))
}

func (b *bench) read(t *testing.T, rel string) string {
	t.Helper()
	f, _, err := b.store.Open(rel)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// files lists what is in the kernel folder.
func (b *bench) files(t *testing.T) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(b.dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(p, b.dir+"/"))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func (b *bench) sync(t *testing.T) error { return b.Sync(t.Context(), upstream.SyncOptions{}) }

// name is what a kernel without a name of its own is called.
func name(mode, text string) string {
	return fmt.Sprintf("%s-%.12s.efi", mode, fmt.Sprintf("%x", sha256.Sum256([]byte(text))))
}

// TestOneAnswerForEveryURL: what such a server has in the place of a digest is none.
func TestOneAnswerForEveryURL(t *testing.T) {
	v1 := big("v1")
	b := newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { site{r.URL.Path: v1}.ServeHTTP(w, r) }))
	if err := b.sync(t); err != nil || b.read(t, "net/prod.efi") != v1 {
		t.Errorf("not taken: %v", err)
	}
}

func TestSync(t *testing.T) {
	v1, v2 := big("v1"), big("v2")
	s := site{"/kernel/net/prod.efi": v1, "/kernel/own.efi": v1}
	b := newBench(t, s)
	var told []string
	o := upstream.SyncOptions{Names: []string{"own.efi", "absent.efi"}, Tell: func(r upstream.Result) {
		told = append(told, fmt.Sprintf("%s %s %t %t", r.Kernel, r.Name, r.Changed, r.Pointed))
	}}
	want := func(what, tells, files string) {
		t.Helper()
		if got := strings.Join(told, ", "); got != tells {
			t.Errorf("%s: told %s, want %s", what, got, tells)
		}
		if got := b.files(t); got != files {
			t.Errorf("%s: files %s, want %s", what, got, files)
		}
		told = nil
	}
	sync := func() {
		t.Helper()
		if err := b.Sync(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
	o.DryRun = true
	sync()
	want("dry", "net/prod.efi  true false, own.efi  true false", "")
	o.DryRun = false
	sync()
	want("first", "net/prod.efi "+name("prod", v1)+" true true, own.efi own.efi true false", ".upstream.json net/prod.efi own.efi "+name("prod", v1))
	sync()
	want("again", "net/prod.efi "+name("prod", v1)+" false false, own.efi own.efi false false", ".upstream.json net/prod.efi own.efi "+name("prod", v1))
	s["/kernel/net/prod.efi"], s["/kernel/own.efi"] = v2, v2
	sync()
	if b.read(t, "net/prod.efi") != v2 || b.read(t, "own.efi") != v2 || b.read(t, name("prod", v1)) != v1 {
		t.Error("not what upstream has")
	}
	told = nil

	// What somebody changes here stays, unless he insists.
	if err := b.store.Point("prod", name("prod", v1), false); err != nil {
		t.Fatal(err)
	}
	sync()
	s["/kernel/net/prod.efi"] = big("v3")
	sync()
	if b.read(t, "net/prod.efi") != v1 {
		t.Error("prod was pointed elsewhere behind its admin's back")
	}
	o.Insist = true
	sync()
	if b.read(t, "net/prod.efi") != big("v3") {
		t.Error("prod does not boot what upstream has, though somebody insists")
	}
}

// TestForbidden: what S3 says of all that is not there, in a bucket that is public but
// may not be listed, keeps nothing from being taken; a bucket that is not public is told.
func TestForbidden(t *testing.T) {
	s := site{"/kernel/net/prod.efi": big("v1")}
	b := newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s[r.URL.Path]; !ok {
			http.Error(w, "<Error><Code>AccessDenied</Code></Error>", http.StatusForbidden)
			return
		}
		s.ServeHTTP(w, r)
	}))
	if err := b.sync(t); err != nil || b.read(t, "net/prod.efi") != s["/kernel/net/prod.efi"] {
		t.Errorf("prod, without a digest and beside no test.efi: %v", err)
	}
	delete(s, "/kernel/net/prod.efi")
	const want = " answers with status 403 Forbidden: is there none, or is it not public?"
	if err := b.sync(t); err == nil || strings.Count(err.Error(), want) != 2 {
		t.Errorf("none is public: %v", err)
	}
}

// TestAnyAnswerIsOne: a service that says that nothing has changed, or refuses, is not silent, however
// long it takes for all kernels together.
func TestAnyAnswerIsOne(t *testing.T) {
	for _, status := range []int{http.StatusNotModified, http.StatusNotFound, http.StatusForbidden, http.StatusServiceUnavailable} {
		s := site{"/kernel/net/prod.efi": big("v1")}
		var b *bench
		second := false
		b = newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/kernel/net/test.efi":
				if asked := b.LastLook().Asked; second && !asked.IsZero() {
					t.Errorf("%d is no answer: silent since %s", status, asked)
				}
				http.NotFound(w, r)
			case second && status != http.StatusNotModified:
				w.WriteHeader(status)
			default:
				if asked := b.LastLook().Asked; second && asked.IsZero() {
					t.Error("the first question is not waited for")
				}
				s.ServeHTTP(w, r)
			}
		}))
		if err := b.sync(t); err != nil {
			t.Fatal(err)
		}
		second = true
		_ = b.sync(t) // an error, for some
		if look := b.LastLook(); !look.Answered || look.Silent != 0 {
			t.Errorf("%d: %+v", status, look)
		}
	}
}

// TestRun: a service that gave no answer, or refused, is asked again within a minute; one whose kernel
// is none, or that breaks off, only when it is time: that may cost a download each time.
func TestRun(t *testing.T) {
	good := kerneltest.EFI("good")
	for what, tt := range map[string]struct {
		fault http.HandlerFunc // once
		again time.Duration
	}{
		"no answer":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, time.Minute},
		"status 503": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, time.Minute},
		"status 403": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, time.Minute},
		"none":       {http.NotFound, 6 * time.Hour},
		"no kernel":  {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "#!ipxe\n") }, 6 * time.Hour},
		"half": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			io.WriteString(w, good[:len(good)/2])
		}, 6 * time.Hour},
	} {
		t.Run(what, func(t *testing.T) {
			asked := atomic.Int64{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Connection", "close") // else there is always something to wait for
				switch {
				case r.URL.Path != "/kernel/net/prod.efi":
					http.NotFound(w, r)
				case asked.Add(1) == 1:
					tt.fault(w, r)
				default:
					io.WriteString(w, good)
				}
			}))
			defer server.Close()
			dir := filepath.Join(t.TempDir(), "kernel")
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				var looks []time.Duration
				store := kernel.Open(dir, filepath.Join(dir, "net"))
				u, err := upstream.New(upstream.Options{
					Base: server.URL, Modes: []provisioning.RunMode{"prod"}, Client: upstream.NewClient(limits),
					Store: store, Editor: kernel.NewEditor(store, kerneltest.NoNodes{}), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now,
				})
				if err != nil {
					t.Fatal(err)
				}
				defer u.Close()
				err = u.Run(ctx, 6*time.Hour, func(context.Context) ([]string, error) {
					if looks = append(looks, time.Since(began)); len(looks) == 3 {
						cancel()
					}
					return nil, ctx.Err()
				})
				if want := []time.Duration{0, tt.again, tt.again + 6*time.Hour}; err != nil || !slices.Equal(looks, want) {
					t.Errorf("looks after %v, %v; want %v", looks, err, want)
				}
				if _, err := store.SHA256("net/prod.efi"); err != nil || u.LastLook().Silent != 0 {
					t.Errorf("not taken: %v, %+v", err, u.LastLook())
				}
			})
		})
	}
}

// TestKeep: so many former kernels stay, and what is in use.
func TestKeep(t *testing.T) {
	s := site{}
	b := newBench(t, s)
	kernels := make([]string, 6)
	for i := range kernels {
		kernels[i] = big(fmt.Sprintf("v%d", i))
		s["/kernel/net/prod.efi"] = kernels[i]
		if err := b.sync(t); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := b.store.Point("test", name("prod", kernels[0]), false); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, text := range kernels {
		if want := i == 0 || i > 2; (b.read(t, name("prod", text)) == text) != want {
			t.Errorf("kernel %d is here: %t, want %t (%s)", i, !want, want, b.files(t))
		}
	}
}

// TestKeepWhatIsNeeded: a former kernel that a run mode tries, or would go back to, stays
// as long as that is so, and goes then.
func TestKeepWhatIsNeeded(t *testing.T) {
	s := site{}
	needed := map[string]bool{}
	b := newBench(t, s, func(o *upstream.Options) {
		o.Editor.Guard(func(_ context.Context, name string, steps int) error {
			if steps > 2 {
				t.Errorf("asked for %d steps back, want two at most", steps)
			}
			if needed[name] {
				return provisioning.Errorf(provisioning.Conflict, "kernel %s is in use: it is tried", name)
			}
			return nil
		})
	})
	kernels := make([]string, 8)
	for i := range kernels {
		kernels[i] = big(fmt.Sprintf("v%d", i))
		first := name("prod", kernels[0])
		needed[first] = i < 6
		s["/kernel/net/prod.efi"] = kernels[i]
		if err := b.sync(t); err != nil {
			t.Fatal(err)
		}
		if here := b.read(t, first) == kernels[0]; here != (i < 6) {
			t.Errorf("after release %d the first is here: %t (%s)", i, here, b.files(t))
		}
	}
	if got := strings.Count(b.files(t), "prod-"); got != 3 {
		t.Errorf("%d releases are here, want the last and two former ones: %s", got, b.files(t))
	}
}

// TestNames: a kernel keeps the name that its upstream gives it, unless another one here
// has that.
func TestNames(t *testing.T) {
	s := site{"/kernel/net/prod.efi": big("v1"), "/kernel/net/test.efi": big("v2")}
	b := newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Location", "/kernel/v1.efi")
		s.ServeHTTP(w, r)
	}))
	if err := b.sync(t); err != nil {
		t.Fatal(err)
	}
	if b.read(t, "v1.efi") != big("v1") || b.read(t, name("test", big("v2"))) != big("v2") || b.read(t, "net/test.efi") != big("v2") {
		t.Errorf("files %s", b.files(t))
	}
}

// TestBadUpstreams: whatever goes wrong, what booted yesterday boots today, and nothing
// is left of the rest.
func TestBadUpstreams(t *testing.T) {
	good, evil := big("good"), big("evil")
	trusted, secret, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(h func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/kernel/net/test.efi" || r.URL.Path == "/kernel/net/test.efi.sha256" {
				http.NotFound(w, r)
				return
			}
			h(w, r)
		}
	}
	kernelOnly := func(h func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
		return answer(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/kernel/net/prod.efi" {
				http.NotFound(w, r)
				return
			}
			h(w, r)
		})
	}
	for what, tt := range map[string]struct {
		handler http.Handler
		trust   bool
		says    string
	}{
		"500": {answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", 500) }), false, "answers with status 500"},
		"a web page": {answer(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "<!doctype html><title>Log in</title>")
		}), false, "is a web page"},
		"a page as it were a file": {kernelOnly(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			io.WriteString(w, "<html>"+evil)
		}), false, "is a web page"},
		"a redirect loop":           {answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }), false, "redirects"},
		"half, whole by its length": {site{"/kernel/net/prod.efi": evil[:len(evil)/2]}, false, "is cut short"},
		"empty":                     {site{"/kernel/net/prod.efi": ""}, false, "is empty"},
		"no kernel":                 {site{"/kernel/net/prod.efi": "#!ipxe\n"}, false, "not a kernel"},
		"half, of no length": {kernelOnly(func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, evil[:len(evil)/2])
		}), false, "is cut short"},
		"longer than announced by itself": {kernelOnly(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(evil)*2))
			io.WriteString(w, evil)
		}), false, "broke off"},
		"wrong digest":           {site{"/kernel/net/prod.efi": evil, "/kernel/net/prod.efi.sha256": strings.Repeat("0", 64) + "  prod.efi\n"}, false, "has SHA-256"},
		"a long list of digests": {site{"/kernel/net/prod.efi": evil, "/kernel/net/prod.efi.sha256": strings.Repeat(strings.Repeat("0", 64)+"  prod.efi\n", 100)}, false, "prod.efi.sha256?original is larger than 4096 bytes"},
		"wrong signature":        {site{"/kernel/net/prod.efi": evil, "/kernel/net/prod.efi.minisig": string(minisign.Sign(other, []byte(evil)))}, true, "is not signed by the key"},
		"another's signature":    {site{"/kernel/net/prod.efi": evil, "/kernel/net/prod.efi.minisig": string(minisign.Sign(secret, []byte(good)))}, true, "is not signed by the key"},
		"no signature":           {site{"/kernel/net/prod.efi": evil}, true, "is not signed"},
		"a page for a signature": {answer(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/kernel/net/prod.efi" {
				site{r.URL.Path: evil}.ServeHTTP(w, r)
				return
			}
			io.WriteString(w, "<!doctype html>")
		}), true, "is not signed"},
		"a slow drip": {kernelOnly(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(evil)))
			for i := 0; r.Context().Err() == nil; i++ {
				io.WriteString(w, evil[i:i+1])
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		}), false, "next to nothing"},
		"silence in the middle": {kernelOnly(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(evil)))
			io.WriteString(w, evil[:100_000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}), false, "next to nothing"},
		"too large": {kernelOnly(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(kernel.MaxSize+1))
			w.WriteHeader(200)
		}), false, "is larger than"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, tt.handler, func(o *upstream.Options) {
				if tt.trust {
					o.Trust = trusted.String()
				}
			})
			// A brand-new appliance: no node ever has the whole of it.
			var got []byte
			d, err := b.Fetch(t.Context(), "net/prod.efi")
			if err == nil {
				var from io.ReadCloser
				if from, _, err = d.Open(t.Context()); err == nil {
					got, err = io.ReadAll(from)
					from.Close()
				}
			}
			if err == nil || len(got) >= len(evil) {
				t.Errorf("a node got %d bytes, %v", len(got), err)
			}
			if got := strings.ReplaceAll(b.files(t), ".upstream.json", ""); got != "" {
				t.Errorf("left: %s", got)
			}
			// One that boots something already.
			if err := errors.Join(b.store.Put("v1.efi", strings.NewReader(good), kernel.Want{}), b.store.Point("prod", "v1.efi", false)); err != nil {
				t.Fatal(err)
			}
			if err := b.sync(t); err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want it to say %q", err, tt.says)
			}
			if b.read(t, "net/prod.efi") != good || b.files(t) != "net/prod.efi v1.efi" {
				t.Errorf("files %s", b.files(t))
			}
		})
	}
}

// TestSigned: what is signed by the right key is taken, and its signature is kept for
// those who take it from us.
func TestSigned(t *testing.T) {
	key, secret, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	v1 := big("v1")
	hashed := minisign.NewReader(strings.NewReader(v1))
	if _, err := io.Copy(io.Discard, hashed); err != nil {
		t.Fatal(err)
	}
	for what, signature := range map[string][]byte{"of the whole": minisign.Sign(secret, []byte(v1)), "of its hash": hashed.Sign(secret)} {
		for _, trust := range []string{key.String(), ""} {
			b := newBench(t, site{"/kernel/net/prod.efi": v1, "/kernel/net/prod.efi.minisig": string(signature)}, func(o *upstream.Options) { o.Trust = trust })
			if err := b.sync(t); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			f, err := b.store.OpenSignature("net/prod.efi")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			if err := errors.Join(err, f.Close()); err != nil || string(got) != string(signature) {
				t.Errorf("%s: kept %q, %v", what, got, err)
			}
		}
	}
}

// TestKilledAtEachTenth: an upstream that is killed in the middle, at each tenth of the
// file, is asked to go on from there when it is back; one that stays away leaves nothing.
func TestKilledAtEachTenth(t *testing.T) {
	text := big("v1")
	for tenth := range 10 {
		for _, back := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d, back %t", tenth, back), func(t *testing.T) {
				t.Parallel()
				var tries, resumed atomic.Int64
				b := newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/kernel/net/prod.efi" {
						http.NotFound(w, r)
						return
					}
					if r.Header.Get("Range") != "" && r.Header.Get("If-Range") != "" {
						resumed.Add(1)
					}
					if tries.Add(1) > 1 && back {
						site{r.URL.Path: text}.ServeHTTP(w, r)
						return
					}
					w.Header().Set("Etag", fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(text))))
					w.Header().Set("Content-Length", fmt.Sprint(len(text)))
					w.Header().Set("Content-Type", "application/octet-stream")
					io.WriteString(w, text[:len(text)*tenth/10])
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				}))
				err := b.sync(t)
				if back && (err != nil || b.read(t, "net/prod.efi") != text || tenth > 0 && resumed.Load() != 1) {
					t.Errorf("%v, resumed %d times", err, resumed.Load())
				}
				if !back && (err == nil || b.files(t) != "") {
					t.Errorf("%v, left %s", err, b.files(t))
				}
			})
		}
	}
}

// TestTakenAgain: a kernel that is here already is nothing new, where the server does not
// tell versions either: nobody is told, and the history shows no choice.
func TestTakenAgain(t *testing.T) {
	v1 := big("v1")
	notes, told := new(noting), 0
	b := newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/kernel/net/prod.efi" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		io.WriteString(w, v1)
	}), func(o *upstream.Options) {
		o.Editor = kernel.NewEditor(o.Store, notes)
		o.Taken = func(upstream.Result) { told++ }
	})
	for range 3 {
		if err := b.sync(t); err != nil || b.read(t, "net/prod.efi") != v1 {
			t.Fatal(err)
		}
	}
	if got := strings.Join(notes.list, ", "); got != "kernel set "+name("prod", v1)+", kernel link net/prod.efi" || told != 1 || b.asked.Load() < 3 {
		t.Errorf("noted %s; told %d times", got, told)
	}
}

// noting is a registry without nodes, that keeps what is noted.
type noting struct {
	kerneltest.NoNodes
	list []string
}

func (n *noting) Note(_ context.Context, _ provisioning.Actor, action, subject string, _, _ any) error {
	n.list = append(n.list, action+" "+subject)
	return nil
}

// TestHeldIsToldOnce: of a kernel that a run mode does not boot, because somebody gave it
// another one, the log tells once, though it is taken again and again.
func TestHeldIsToldOnce(t *testing.T) {
	release := big("v1")
	var log bytes.Buffer
	b := newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/kernel/net/prod.efi" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream") // and no version
		io.WriteString(w, release)
	}), func(o *upstream.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	err := errors.Join(b.sync(t), b.store.Put("own.efi", strings.NewReader(big("own")), kernel.Want{}), b.store.Point("prod", "own.efi", false))
	if err != nil {
		t.Fatal(err)
	}
	for told, v := range []string{"v1", "v2", "v3"} { // v1 it did boot
		release = big(v)
		for range 3 {
			if err := b.sync(t); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Count(log.String(), "somebody gave it another one"); got != told {
			t.Errorf("%s: told %d times, want %d:\n%s", v, got, told, log.String())
		}
	}
}

// TestChosenMeanwhile: a run mode that somebody gives another kernel while upstream's comes
// in keeps that; upstream's is stored all the same.
func TestChosenMeanwhile(t *testing.T) {
	v1, v2, own := big("v1"), big("v2"), big("own")
	var b *bench
	now := v1
	b = newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/kernel/net/prod.efi" && now == v2 {
			if err := b.store.Point("prod", "own.efi", false); err != nil {
				t.Error(err)
			}
		}
		site{"/kernel/net/prod.efi": now}.ServeHTTP(w, r)
	}))
	if err := errors.Join(b.sync(t), b.store.Put("own.efi", strings.NewReader(own), kernel.Want{})); err != nil {
		t.Fatal(err)
	}
	now = v2
	if err := b.Sync(t.Context(), upstream.SyncOptions{Insist: true}); err != nil {
		t.Fatal(err)
	}
	if b.read(t, "net/prod.efi") != own || b.read(t, name("prod", v2)) != v2 {
		t.Errorf("files %s", b.files(t))
	}
}

// TestReplacedMeanwhile: two halves of two versions are not a kernel.
func TestReplacedMeanwhile(t *testing.T) {
	v1, v2 := big("v1"), big("v2")
	var tries atomic.Int64
	b := newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) > 1 {
			site{"/kernel/net/prod.efi": v2}.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(v1)))
		io.WriteString(w, v1[:200_000])
		panic(http.ErrAbortHandler)
	}))
	if err := b.sync(t); err == nil || !strings.Contains(err.Error(), "replaced by another version") {
		t.Error(err)
	}
	if err := b.sync(t); err != nil || b.read(t, "net/prod.efi") != v2 {
		t.Errorf("the next time: %v", err)
	}
}

// TestFortyNodesOneDownload: who asks while a kernel is being stored gets it from the
// same download, as it comes; one that goes does not end it.
func TestFortyNodesOneDownload(t *testing.T) {
	text := big("v1")
	half, rest := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b := newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/kernel/net/prod.efi" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		io.WriteString(w, text[:len(text)/2])
		w.(http.Flusher).Flush()
		once.Do(func() { close(half) })
		<-rest
		io.WriteString(w, text[len(text)/2:])
	}), func(o *upstream.Options) {
		patient := limits
		patient.Stall = time.Minute
		o.Client = upstream.NewClient(patient)
	})
	node := func(ctx context.Context, early func()) ([]byte, error) {
		d, err := b.Fetch(t.Context(), "net/prod.efi")
		if err != nil {
			return nil, err
		}
		from, size, err := d.Open(ctx)
		if err != nil {
			return nil, err
		}
		defer from.Close()
		if size != int64(len(text)) {
			t.Errorf("size %d", size)
		}
		first := make([]byte, 100_000)
		if _, err := io.ReadFull(from, first); err != nil {
			return nil, err
		}
		early()
		left, err := io.ReadAll(from)
		return append(first, left...), err
	}
	impatient, leave := context.WithCancel(t.Context())
	var early, done sync.WaitGroup
	early.Add(41)
	done.Go(func() {
		_, _ = node(impatient, func() { leave(); early.Done() })
	})
	for range 40 {
		done.Go(func() {
			if got, err := node(t.Context(), early.Done); err != nil || string(got) != text {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	<-half
	early.Wait() // all have the beginning before upstream gives the end
	close(rest)
	done.Wait()
	if n := b.asked.Load(); n != 1 {
		t.Errorf("upstream was asked %d times", n)
	}
	if b.read(t, "net/prod.efi") != text {
		t.Error("it was not stored")
	}
}

func TestHas(t *testing.T) {
	s := site{"/kernel/net/prod.efi": big("v1"), "/kernel/v2.efi": big("v2"), "/kernel/net/proud.efi": big("v3")}
	b := newBench(t, s)
	for rel, want := range map[string]provisioning.Code{
		"net/prod.efi": "", "v2.efi": "", "net/test.efi": provisioning.NotFound, "v3.efi": provisioning.NotFound,
		"net/proud.efi": provisioning.NotFound, "../secret": provisioning.NotFound, ".hidden": provisioning.NotFound,
	} {
		if err := b.store.Available(t.Context(), rel); provisioning.ErrorCode(err) != want {
			t.Errorf("%s: %v, want code %q", rel, err, want)
		}
	}
	if got := b.files(t); got != "" {
		t.Errorf("asking has stored %s", got)
	}
	if err := b.Take(t.Context(), "v2.efi"); err != nil || b.read(t, "v2.efi") != big("v2") {
		t.Errorf("Take: %v", err)
	}
	// A service that is down is not waited for again and again.
	down := newBench(t, s, func(o *upstream.Options) { o.Base = "http://127.0.0.1:1" })
	for range 3 {
		if err := down.store.Available(t.Context(), "net/prod.efi"); provisioning.ErrorCode(err) != provisioning.Unavailable || !strings.Contains(err.Error(), "upstream") {
			t.Errorf("of one that is down: %v", err)
		}
	}
}

// TestHeard: who does not wait is told what the service has said, and the service is asked
// meanwhile, once at a time.
func TestHeard(t *testing.T) {
	s := site{"/kernel/v2.efi": big("v2")}
	asked, speak := make(chan string, 100), make(chan struct{})
	var later atomic.Int64 // ns
	b := newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		select {
		case <-speak:
			s.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}), func(o *upstream.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	heard := func(rel string, wantKnown bool, want provisioning.Code) {
		t.Helper()
		if known, err := b.Heard(rel); known != wantKnown || known && provisioning.ErrorCode(err) != want {
			t.Errorf("%s: %t, %v, want %t and code %q", rel, known, err, wantKnown, want)
		}
		if err := b.store.Known(rel); wantKnown && provisioning.ErrorCode(err) != want || !wantKnown && err != nil {
			t.Errorf("%s: the store says %v", rel, err)
		}
	}
	// until asks for rel again and again until that is so.
	until := func(rel, what string, so func(known bool) bool) {
		t.Helper()
		deadline, tick := time.After(time.Minute), time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			if known, _ := b.Heard(rel); so(known) {
				return
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("waited in vain for %s: %s", rel, what)
			}
		}
	}
	asks := func(rel string) {
		t.Helper()
		until(rel, "it is asked for", func(bool) bool {
			select {
			case path := <-asked:
				return path == "/kernel/"+rel
			default:
				return false
			}
		})
	}
	heard("net/proud.efi", true, provisioning.NotFound) // no run mode
	for range 3 {
		heard("v2.efi", false, "")
		heard("v3.efi", false, "")
	}
	first := map[string]bool{<-asked: true, <-asked: true}
	if !first["/kernel/v2.efi"] || !first["/kernel/v3.efi"] {
		t.Errorf("asked for %v", first)
	}
	close(speak)
	for _, rel := range []string{"v2.efi", "v3.efi"} {
		until(rel, "it is known", func(known bool) bool { return known })
	}
	heard("v2.efi", true, "")
	heard("v3.efi", true, provisioning.NotFound)
	if n := len(asked); n > 0 {
		t.Errorf("asked %d times more than once for each", n)
	}
	later.Add(int64(40 * time.Second)) // Has would ask anew
	heard("v3.efi", true, provisioning.NotFound)
	asks("v3.efi")
	later.Add(int64(time.Hour))
	heard("v2.efi", false, "")
	asks("v2.efi")
}

// TestHops: two appliances that name each other as upstream come to an end.
func TestHops(t *testing.T) {
	var b *bench
	var asked atomic.Int64
	b = newBench(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if _, err := b.Size(upstream.WithHops(r.Context(), r), "net/prod.efi"); err != nil {
			http.NotFound(w, r)
		}
	}))
	if err := b.Has(t.Context(), "net/prod.efi"); provisioning.ErrorCode(err) != provisioning.NotFound {
		t.Error(err)
	}
	if n := asked.Load(); n > 10 {
		t.Errorf("asked %d times", n)
	}
}

func TestBadOptions(t *testing.T) {
	for _, base := range []string{"", "ftp://x", "boot.example.org", "http://", "http://x?y", "::"} {
		if _, err := upstream.CheckBase(base); provisioning.ErrorCode(err) != provisioning.Invalid {
			t.Errorf("%q: %v", base, err)
		}
	}
	for _, key := range []string{"x", "RWQ", strings.Repeat("A", 56)} {
		if _, err := upstream.CheckTrust(key); provisioning.ErrorCode(err) != provisioning.Invalid {
			t.Errorf("%q: %v", key, err)
		}
	}
}
