package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/pause"
)

// Client gets files by HTTP from servers that may be slow, break off, or give something
// else. Make it with [NewClient]; it is safe for concurrent use.
type Client struct {
	http   *http.Client
	limits Limits
}

// Limits bound what a Client puts up with.
type Limits struct {
	Answer time.Duration // until the header of an answer is there
	Stall  time.Duration // a window in which MinWindow bytes must arrive
	Window int64         // bytes
	Tries  int           // how often one download may break off, less one
	Pause  time.Duration // after the first time; then twice as long each time
}

// DefaultLimits are for links of 1 kB/s and more.
var DefaultLimits = Limits{Answer: 20 * time.Second, Stall: 30 * time.Second, Window: 32 << 10, Tries: 5, Pause: time.Second}

// maxRedirects is how many redirects are followed.
const maxRedirects = 5

// NewClient returns a Client with those limits.
func NewClient(l Limits) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // Content-Length is to be that of the file
	transport.ResponseHeaderTimeout = l.Answer
	transport.DialContext = (&net.Dialer{Timeout: l.Answer}).DialContext
	transport.TLSHandshakeTimeout = l.Answer
	transport.MaxIdleConnsPerHost = 2
	return &Client{limits: l, http: &http.Client{
		Transport: transport,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("more than %d redirects", maxRedirects)
			case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
				return errors.New("it redirects from https to http")
			}
			return nil
		},
	}}
}

// Validator is what a server said of a version of a file (RFC 9110 section 8.8).
type Validator struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// strong is what If-Range may hold: "" if there is nothing.
func (v Validator) strong() string {
	if v.ETag != "" && !strings.HasPrefix(v.ETag, "W/") {
		return v.ETag
	}
	return v.LastModified
}

// File is a file on its way. Read resumes where the server breaks off, as long as it
// still has the same version.
type File struct {
	Validator
	URL  string // where it came from in the end
	Name string // by the header Content-Location, the last element of its path; "": it says none
	Size int64  // bytes; -1: not announced

	date    string // when the server said so
	client  *Client
	ctx     context.Context
	request string // URL
	body    *body
	off     int64
	failed  int
}

// ErrUnchanged says that the server still has the version that is known.
var ErrUnchanged = errors.New("not modified")

// Get asks for the file at a URL. known is what the server said of the version that
// there is already: [ErrUnchanged] if it still has that. Other errors are
// [provisioning.Error]s, with code NotFound if it has no such file. Close the file.
func (c *Client) Get(ctx context.Context, u string, known Validator) (*File, error) {
	f := &File{client: c, ctx: ctx, request: u}
	header := http.Header{}
	if known.ETag != "" {
		header.Set("If-None-Match", known.ETag)
	} else if known.LastModified != "" {
		header.Set("If-Modified-Since", known.LastModified)
	}
	res, b, err := c.do(ctx, http.MethodGet, u, header)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusNotModified && known != (Validator{}) {
		b.Close()
		return nil, ErrUnchanged
	}
	if err := accept(res, u); err != nil {
		b.Close()
		return nil, err
	}
	f.Validator, f.URL, f.Size, f.Name, f.body = validatorOf(res), res.Request.URL.String(), res.ContentLength, nameOf(res), b
	f.date = res.Header.Get("Date")
	return f, nil
}

// Head asks whether there is a file at a URL, and returns its size, -1 if that is not
// announced. Errors are those of [Client.Get].
func (c *Client) Head(ctx context.Context, u string) (size int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Answer)
	defer cancel()
	res, b, err := c.do(ctx, http.MethodHead, u, nil)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	return res.ContentLength, accept(res, u)
}

// Text gets a small file of at most max bytes. Of a larger one it returns the beginning, with
// [errLarger].
func (c *Client) Text(ctx context.Context, u string, max int64) ([]byte, error) {
	f, err := c.Get(ctx, u, Validator{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(text)) > max {
		err = provisioning.Errorf(provisioning.Unavailable, "%s %w than %d bytes", u, errLarger, max)
	}
	return text, err
}

func validatorOf(res *http.Response) Validator {
	return Validator{res.Header.Get("Etag"), res.Header.Get("Last-Modified")}
}

// lasting is the validator by which a later version can be told from this one: a file
// that was changed in the second before the answer may change again in the same second
// (RFC 9110 section 8.8.2.2).
func (f *File) lasting() Validator {
	v := f.Validator
	modified, err := http.ParseTime(v.LastModified)
	sent, err2 := http.ParseTime(f.date)
	if err == nil && err2 == nil && sent.Sub(modified) < 2*time.Second {
		v.LastModified = ""
	}
	return v
}

func nameOf(res *http.Response) string {
	at := res.Header.Get("Content-Location")
	name, err := url.PathUnescape(at[strings.LastIndex(at, "/")+1:])
	if err != nil {
		return ""
	}
	return name
}

// errLarger is what a small file is that is something else: a server may have one answer for
// every URL.
var errLarger = errors.New("is larger")

// errPage is what is there instead of a file.
var errPage = errors.New("a web page, not a kernel")

// errForbidden is what an object store such as S3 says of an object that is not there, to
// whoever may not list what is.
var errForbidden = errors.New("is there none, or is it not public?")

// accept refuses an answer that is not the file.
func accept(res *http.Response, u string) error {
	mediaType, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case res.StatusCode == http.StatusNotFound, res.StatusCode == http.StatusGone:
		return provisioning.Errorf(provisioning.NotFound, "there is no %s", u)
	case res.StatusCode == http.StatusForbidden:
		return provisioning.Errorf(provisioning.Unavailable, "%s answers with status %s: %w", u, res.Status, errForbidden)
	case res.StatusCode != http.StatusOK:
		return provisioning.Errorf(provisioning.Unavailable, "%s answers with status %s", u, res.Status)
	case mediaType == "text/html":
		return provisioning.Errorf(provisioning.Unavailable, "%s is %w", u, errPage)
	}
	return nil
}

// hopsKey is the context's key of how many appliances have asked on.
type hopsKey struct{}

// hopsHeader tells an upstream that is an appliance how many have asked on already.
const hopsHeader = "X-Farmboot-Hops"

// maxHops is how many appliances may ask each other for a kernel, one for the next: two
// that name each other as upstream must come to an end.
const maxHops = 4

// WithHops returns a context for requests that are made for a request r.
func WithHops(ctx context.Context, r *http.Request) context.Context {
	n, _ := strconv.Atoi(r.Header.Get(hopsHeader))
	return context.WithValue(ctx, hopsKey{}, n)
}

// do makes a request; the body of the answer ends when the server stalls.
func (c *Client) do(ctx context.Context, method, u string, header http.Header) (*http.Response, *body, error) {
	hops, _ := ctx.Value(hopsKey{}).(int)
	if hops >= maxHops {
		return nil, nil, provisioning.Errorf(provisioning.NotFound, "%d appliances have asked each other for it in turn: is one the upstream of its own upstream?", hops)
	}
	within, cancel := context.WithCancelCause(ctx)
	r, err := http.NewRequestWithContext(within, method, u, nil)
	if err != nil {
		cancel(nil)
		return nil, nil, provisioning.Errorf(provisioning.Invalid, "bad URL %.200q: %w", u, err)
	}
	if header != nil {
		r.Header = header
	}
	r.Header.Set("User-Agent", "farmboot")
	r.Header.Set(hopsHeader, strconv.Itoa(hops+1))
	res, err := c.http.Do(r)
	if err != nil {
		cancel(nil)
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if res == nil { // else it was one redirect too many
			err = noAnswer{err}
		}
		return nil, nil, provisioning.Errorf(provisioning.Unavailable, "get %s: %w", u, err)
	}
	return res, newBody(res.Body, c.limits, cancel), nil
}

// noAnswer is why a server has given none, not even a refusal.
type noAnswer struct{ error }

func (e noAnswer) Unwrap() error { return e.error }

// answers tells whether the server has answered a request that ended with that error.
func answers(err error) bool {
	_, silent := errors.AsType[noAnswer](err)
	return !silent && !errors.Is(err, context.Canceled)
}

// errSlow is why the body of an answer ends that hardly comes.
var errSlow = errors.New("it sends next to nothing")

// body is the body of an answer, which must come at a certain pace.
type body struct {
	io.ReadCloser
	limits Limits
	cancel context.CancelCauseFunc
	timer  *time.Timer
	window int64 // bytes in this window
	slow   chan struct{}
}

func newBody(from io.ReadCloser, l Limits, cancel context.CancelCauseFunc) *body {
	slow := make(chan struct{})
	return &body{ReadCloser: from, limits: l, cancel: cancel, slow: slow, timer: time.AfterFunc(l.Stall, func() { close(slow); cancel(errSlow) })}
}

// Read reads, and begins a new window when this one has seen enough.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.window += int64(n); b.window >= b.limits.Window && b.timer.Stop() {
		b.window = 0
		b.timer.Reset(b.limits.Stall)
	}
	if err != nil && err != io.EOF {
		select {
		case <-b.slow:
			err = errSlow
		default:
		}
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// Read implements [io.Reader]. At the end, all announced bytes were there.
func (f *File) Read(p []byte) (int, error) {
	for {
		n, err := f.body.Read(p)
		f.off += int64(n)
		if err == io.EOF && f.Size >= 0 && f.off < f.Size {
			err = io.ErrUnexpectedEOF
		}
		switch {
		case err == nil, err == io.EOF:
			return n, err
		case n > 0:
			return n, nil // what is wrong is found again at the next Read
		case f.ctx.Err() != nil:
			return 0, f.ctx.Err()
		}
		if err := f.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume goes on after the server has broken off.
func (f *File) resume(why error) error {
	for {
		f.failed++
		broken := provisioning.Errorf(provisioning.Unavailable, "%s broke off after %d bytes: %w", f.request, f.off, why)
		if f.failed >= f.client.limits.Tries || f.strong() == "" && f.off > 0 {
			return broken
		}
		f.body.Close()
		if err := pause.For(f.ctx, f.client.limits.Pause<<(f.failed-1)); err != nil {
			return err
		}
		header := http.Header{}
		if f.off > 0 {
			header.Set("Range", fmt.Sprintf("bytes=%d-", f.off))
			header.Set("If-Range", f.strong())
		}
		res, b, err := f.client.do(f.ctx, http.MethodGet, f.request, header)
		if err != nil {
			why = err
			continue
		}
		f.body = b
		if res.StatusCode == http.StatusPartialContent && f.off > 0 {
			if !strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", f.off)) {
				return broken
			}
			return nil
		}
		if err := accept(res, f.request); err != nil {
			why = err
			continue
		}
		if validatorOf(res) != f.Validator || res.ContentLength != f.Size {
			return provisioning.Errorf(provisioning.Unavailable, "%s was replaced by another version meanwhile", f.request)
		}
		// A server that knows no ranges: the same again, from the beginning.
		if _, err := io.CopyN(io.Discard, b, f.off); err != nil {
			why = err
			continue
		}
		return nil
	}
}

// Close ends the download.
func (f *File) Close() error { return f.body.Close() }
