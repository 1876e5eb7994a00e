package http

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"farmboot/http/admission"
	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/kernel/signed"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
)

// Boot is the boot plane. All fields are required, but those that say otherwise.
type Boot struct {
	Answer *answer.Adapter
	Now    func() time.Time
	// Site is the appliance as a node sees it that reached us at that address of
	// ours; the zero address stands for the first LAN interface.
	Site func(local netip.Addr) ipxe.Site
	// Admit decides what a node gets that asks for its script.
	Admit func(context.Context, provisioning.MAC) (provisioning.Assignment, error)
	// Assignment tells what a MAC address would get; it changes nothing.
	Assignment func(context.Context, provisioning.MAC) (provisioning.Assignment, error)
	// Consume ends what a node was given for its next boot alone; nil: nothing is.
	Consume func(context.Context, provisioning.Assignment) error
	Catalog Catalog
	Kernels *kernel.Store
	// Upstream has kernels that are not here yet; nil: there is none.
	Upstream *upstream.Upstream
	// Signed holds the kernels signed for Secure Boot; nil: kernels go out as they are.
	Signed *signed.Store
	// SecureBoot is what is known of nodes that boot with it on; nil: nothing is signed.
	SecureBoot SecureBoot
	// Turns decides which nodes fetch their kernels when many do; nil: all that ask.
	Turns *admission.Control
	// RootPEM is the certificate that nodes and browsers are to trust; empty: none
	// of ours.
	RootPEM func() []byte
	Metrics prometheus.Gatherer
	// Unhealthy says in one line why nodes cannot boot from here; "": they can.
	Unhealthy func(context.Context) string
	Record    provisioning.Record
}

// Catalog composes what is fetched to boot from.
type Catalog interface {
	Program(name string, local netip.Addr) (catalog.File, error)
	Image(o catalog.Order) (catalog.File, error)
	Describe(o catalog.Order) (catalog.Download, error)
}

// SecureBoot is where nodes stand with Secure Boot.
type SecureBoot interface {
	// Enrolling tells whether a node is to be made to trust our key at its next boot.
	Enrolling(m provisioning.MAC) bool
	// Enrolled ends that.
	Enrolled(m provisioning.MAC)
	// Trusts notes that a node has run what our key signed, with Secure Boot on.
	Trusts(m provisioning.MAC)
	// HasMokManager tells whether a person can make a node trust it at its screen.
	HasMokManager() bool
	// NoKeyDisk says why firmware in Setup Mode cannot be enrolled without a person;
	// nil: it can.
	NoKeyDisk() error
	// Fingerprint is that of our certificate.
	Fingerprint() ([sha256.Size]byte, error)
}

// send sends f: whole, in ranges, or not at all if the client has it.
func send(w http.ResponseWriter, r *http.Request, f catalog.File) {
	h := w.Header()
	h.Set("Content-Type", f.ContentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Etag", f.ETag)
	serveContent(w, r, time.Time{}, f.Content.Size(), f.Content.Reader())
}

// Routes adds every route of the boot plane to r.
func (b *Boot) Routes(r *mux.Router) {
	get := func(path, name string, h answer.Handler) {
		r.Handle(path, b.Answer.Handle(name, answer.Plain, h)).Methods(http.MethodGet, http.MethodHead)
	}
	get("/provision{mac:(?:/[^/]*)?}", "provision", b.provision)
	// Shim asks for /boot//grubx64.efi, and follows no redirect.
	get("/boot/{name:.+}", "boot", b.program)
	get("/kernel/{name:(?:net/)?[^/]*}", "kernel", b.kernel)
	get("/api/images", "images", b.listKernels)
	b.imageRoutes(r)
	get("/ca.pem", "ca", b.caPEM)
	get("/healthz", "healthz", b.healthz)
	metrics := promhttp.HandlerFor(b.Metrics, promhttp.HandlerOpts{})
	get("/metrics", "metrics", func(w http.ResponseWriter, r *http.Request) error { metrics.ServeHTTP(w, r); return nil })
}

// provision answers /provision/MAC: the boot script of that node. What we refuse a
// node it is told in a script, because iPXE shows nothing of an error's text.
func (b *Boot) provision(w http.ResponseWriter, r *http.Request) error {
	text, err := answer.Var(r, "mac")
	if err != nil {
		return err
	}
	mac, err := provisioning.ParseMAC(strings.TrimPrefix(text, "/"))
	if err != nil {
		return err
	}
	asks := asking{r, r.URL.Query()}
	if asks.query.Has("failed") {
		return b.failed(w, asks, mac)
	}
	mac = b.registered(asks, mac)
	site := b.Site(answer.LocalOf(r))
	a, gets, err := b.decide(asks, site, mac)
	if err == nil && gets.Event.Stage == provisioning.StageScript && asks.takesTurns() {
		a, gets, err = b.inTurn(asks, site, a, gets)
	}
	if err != nil {
		return err
	}
	again := asks.held() && a.Policy == provisioning.Hold || gets.Event.Stage == ""
	if r.Method == http.MethodGet && !again {
		ev := gets.Event
		ev.At, ev.MAC, ev.Peer, ev.Machine = b.Now(), mac, answer.PeerOf(r), machineOf(asks.query)
		b.Record(ev)
	}
	if gets.Script == nil {
		return gets.Refusal
	}
	if b.Consume != nil && a.Once && gets.Refusal == nil && r.Method == http.MethodGet {
		// Where it cannot be stored, the node boots so once more: better than not at all.
		_ = b.Consume(r.Context(), a)
	}
	// Whole, or nothing of it: half a script would be run.
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(gets.Script)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = w.Write(gets.Script)
	return err
}

// asking is a request for a node's script.
type asking struct {
	*http.Request
	query url.Values // read once
}

// held tells whether the script asks that has a node wait to be claimed.
func (r asking) held() bool { return r.query.Get("held") != "" }

// decide returns what a node is assigned, and what it gets by that.
func (b *Boot) decide(r asking, site ipxe.Site, mac provisioning.MAC) (a provisioning.Assignment, gets ipxe.Answer, err error) {
	if a, err = b.Admit(r.Context(), mac); err != nil {
		return a, gets, err
	}
	if r.held() && a.Policy == provisioning.Hold && r.Method == http.MethodGet {
		if a, err = b.awaitClaim(r.Request, mac); err != nil {
			return a, gets, err
		}
	}
	a.Node.MAC = mac
	gets, err = site.Answer(a, b.Kernels.WithUpstream())
	if err == nil && a.Policy == provisioning.Boot && b.enrols(r, mac) {
		gets, err = b.enrolment(r, site, a.Node)
		a.Once = false // that is for the boot which comes after
	}
	return a, gets, err
}

// maxCards is how many network cards of a machine are looked at.
const maxCards = 16

// registered returns the MAC address that a machine is registered by: that of the card
// that asks, or else the first of its other cards that is, which our scripts name.
func (b *Boot) registered(r asking, card provisioning.MAC) provisioning.MAC {
	also := strings.FieldsFunc(r.query.Get("also"), func(c rune) bool { return c == '.' })
	if len(also) == 0 {
		return card
	}
	for _, text := range append([]string{card.String()}, also[:min(len(also), maxCards)]...) {
		mac, err := provisioning.ParseMAC(text)
		if err != nil {
			continue
		}
		switch a, err := b.Assignment(r.Context(), mac); {
		case err != nil:
			return card // the store fails, which whoever asks for the assignment says
		case a.Registered:
			return mac
		}
	}
	return card
}

// failures are what our scripts report.
var failures = map[string]provisioning.Cause{
	"network":   {ID: provisioning.CauseNetworkFailed, Note: "it could not fetch its kernel"},
	"kernel":    {ID: provisioning.CauseKernelRefused, Note: "its screen says why"},
	"signature": {ID: provisioning.CauseSecureBoot},
	"script":    {ID: provisioning.CauseScriptFailed, Note: "its screen says where"},
}

// failed answers /provision/MAC?failed=WHAT, by which our scripts report.
func (b *Boot) failed(w http.ResponseWriter, r asking, mac provisioning.MAC) error {
	cause, ok := failures[r.query.Get("failed")]
	if !ok {
		return provisioning.Errorf(provisioning.Invalid, "bad failed %.20q: accepted are kernel, network, script and signature", r.query.Get("failed"))
	}
	if r.Method == http.MethodGet {
		if a, err := b.Assignment(r.Context(), mac); err == nil {
			cause.Kernel = ipxe.NodeTarget(a.Node).KernelPath()
		}
		b.Record(provisioning.Event{At: b.Now(), MAC: mac, Peer: answer.PeerOf(r.Request), Stage: provisioning.StageFailed, Cause: cause})
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, err := w.Write([]byte("noted\n"))
	return err
}

// cardOf returns the MAC address that r says it is sent by, which our scripts write into
// every URL: an address of a machine behind a proxy or a router tells nothing. Zero: it
// says none.
func cardOf(r *http.Request) provisioning.MAC {
	mac, err := provisioning.ParseMAC(r.URL.Query().Get("mac"))
	if err != nil {
		return provisioning.MAC{}
	}
	return mac
}

// A node that waits to be claimed asks again and again; each time it is left
// waiting for holdTime, so that its screen does not scroll the claim code away.
const (
	holdTime = 20 * time.Second
	holdPoll = time.Second // a look-up takes some 15 µs
)

// awaitClaim returns what mac gets once that is no longer to be held, after holdTime,
// or when we are about to stop.
func (b *Boot) awaitClaim(r *http.Request, mac provisioning.MAC) (provisioning.Assignment, error) {
	poll := time.NewTicker(holdPoll)
	defer poll.Stop()
	end := time.NewTimer(holdTime)
	defer end.Stop()
	for {
		a, err := b.Admit(r.Context(), mac)
		if err != nil || a.Policy != provisioning.Hold {
			return a, err
		}
		select {
		case <-poll.C:
		case <-end.C:
			return a, nil
		case <-answer.Stopping(r):
			return a, nil
		case <-r.Context().Done():
			return a, r.Context().Err()
		}
	}
}

// machineOf reads what our provision script says of the machine, as far as it can
// be true. Firmware that booted us by DHCP has said the same before.
func machineOf(q url.Values) provisioning.Machine {
	var m provisioning.Machine
	switch q.Get("platform") + " " + q.Get("arch") {
	case "pcbios i386", "pcbios x86_64":
		m.Arch = "BIOS"
	case "efi x86_64":
		m.Arch = "UEFI x64"
	case "efi arm64":
		m.Arch = "UEFI arm64"
	case "efi riscv64":
		m.Arch = "UEFI riscv64"
	}
	m.Serial, m.Manufacturer, m.Product = smbios(q.Get("serial")), smbios(q.Get("manufacturer")), smbios(q.Get("product"))
	if id := strings.ToLower(q.Get("uuid")); uuidForm.MatchString(id) {
		m.UUID = id
	}
	return m
}

// smbiosLength is how much of a text of SMBIOS is kept, in bytes: makers write a line.
const smbiosLength = 64

// smbios is a text of a machine's SMBIOS tables, "" where its maker left what stands
// there from the factory.
func smbios(text string) string {
	text = provisioning.Clip(strings.Join(strings.Fields(text), " "), smbiosLength)
	switch strings.ToLower(strings.Trim(text, ". ")) {
	case "to be filled by o.e.m", "default string", "not specified", "system serial number", "system product name", "system manufacturer", "none", "n/a", "0", "0123456789":
		return ""
	}
	return text
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// program answers /boot/NAME for UEFI HTTP Boot: the same files as TFTP, and
// autoexec.ipxe, which iPXE looks for beside itself.
func (b *Boot) program(w http.ResponseWriter, r *http.Request) error {
	name, err := answer.Var(r, "name")
	if err != nil {
		return err
	}
	f, err := b.Catalog.Program(strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '/' }), "/"), answer.LocalOf(r))
	if err != nil {
		return err
	}
	start := b.Now()
	send(w, r, f)
	if ended := b.endEnrolment(r); f.Name == filenames.KeyDisk {
		if ended { // it is read in pieces, which are not told of
			b.Record(provisioning.Event{Stage: provisioning.StageNBP, At: b.Now(), MAC: cardOf(r), Peer: answer.PeerOf(r), File: f.Name, Via: "HTTP"})
		}
		return nil
	}
	b.recordTransfer(w, r, provisioning.Event{Stage: provisioning.StageNBP, File: f.Name, Via: "HTTP", Size: f.Content.Size()}, start)
	return nil
}

// recordTransfer records what a node was sent of a file.
func (b *Boot) recordTransfer(w http.ResponseWriter, r *http.Request, e provisioning.Event, start time.Time) {
	rec, ok := w.(*answer.Recorder)
	if !ok || r.Method == http.MethodHead || rec.Sent == 0 || rec.Status >= 300 {
		return
	}
	e.At, e.MAC, e.Peer, e.Bytes = b.Now(), cardOf(r), answer.PeerOf(r), rec.Sent
	e.Duration = e.At.Sub(start)
	b.Record(e)
}

// refusalOf is what is recorded of an error: nothing of an internal fault.
func refusalOf(err error) provisioning.Cause {
	if provisioning.ErrorCode(err) == provisioning.Internal {
		return provisioning.Cause{ID: provisioning.CauseOther, Note: answer.PublicMessage(err)}
	}
	return provisioning.CauseOf(err)
}

// caPEM answers /ca.pem.
func (b *Boot) caPEM(w http.ResponseWriter, r *http.Request) error {
	pem := b.RootPEM()
	if len(pem) == 0 {
		return provisioning.Errorf(provisioning.NotFound, "this appliance uses a public certificate: there is no certificate authority of its own to trust")
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	http.ServeContent(w, r, "ca.pem", time.Time{}, bytes.NewReader(pem))
	return nil
}

// healthz answers 200 as long as nodes can boot from here, else 503 and why not.
func (b *Boot) healthz(w http.ResponseWriter, r *http.Request) error {
	text, status := "ok\n", http.StatusOK
	if why := b.Unhealthy(r.Context()); why != "" {
		text, status = why+"\n", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := w.Write([]byte(text))
	return err
}
