package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"farmboot/ipxe/binary"
	"farmboot/ipxe/binary/authenticode"
	"farmboot/ipxe/image"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/kernel/signed"
	"farmboot/ipxe/segment"
	"farmboot/provisioning"
	"farmboot/provisioning/logonce"
	"farmboot/provisioning/pause"
	"farmboot/provisioning/registry"
	"farmboot/setup"
	"farmboot/setup/ca"
	"farmboot/setup/secureboot"
)

// secureBoot is what machines with Secure Boot on boot by, and where they stand. The
// methods that other packages call are safe on nil, which is none of it.
type secureBoot struct {
	shims   func() (binary.Shims, error) // as they are in the template folder now
	first   binary.Shims                 // as they were at the start
	keys    *ca.Signing
	kernels *signed.Store
	ledger  *secureboot.Ledger
	log     *slog.Logger

	mu     sync.Mutex
	made   *image.Chain
	madeOf string // stands for the files and keys that made is of
}

// openSecureBoot returns it, or why it is not possible.
func openSecureBoot(cfg setup.Config, template func() *binary.Template, kernels *kernel.Store, log *slog.Logger, now func() time.Time) (*secureBoot, error) {
	shims := func() (binary.Shims, error) { return template().Shims() }
	first, err := shims()
	if err != nil {
		return nil, err
	}
	s := &secureBoot{shims: shims, first: first, keys: openSigning(cfg, now), ledger: openLedger(cfg, now), log: log}
	if _, err := s.keys.Keys(); err != nil {
		return nil, err
	}
	s.kernels = &signed.Store{Kernels: kernels, Dir: filepath.Join(cfg.SecureBootDir(), "kernels"), Keys: s.signers}
	return s, nil
}

func openSigning(cfg setup.Config, now func() time.Time) *ca.Signing {
	return ca.OpenSigning(cfg.SecureBootDir(), now)
}

func openLedger(cfg setup.Config, now func() time.Time) *secureboot.Ledger {
	return &secureboot.Ledger{Dir: cfg.SecureBootDir(), Now: now}
}

// shim is the file that x64 UEFI machines get first; "": none.
func (s *secureBoot) shim() string {
	if s == nil {
		return ""
	}
	return s.first.Name
}

// pair tells whether iPXE is a signed build of its own project.
func (s *secureBoot) pair() bool { return s != nil && s.first.Pair }

// signers are the keys that sign, and what stands for them.
func (s *secureBoot) signers() (keys []authenticode.Key, id string, err error) {
	all, err := s.keys.Keys()
	for _, k := range all {
		f := k.Fingerprint()
		keys = append(keys, authenticode.Key{Private: k.Private, Cert: k.Cert})
		id += fmt.Sprintf("%x", f[:6])
	}
	return keys, id, err
}

// chain is [catalog.Catalog.Chain]. A key or a shim that was replaced is used at once.
func (s *secureBoot) chain() *image.Chain {
	if s == nil {
		return nil
	}
	keys, id, err := s.signers()
	shims, shimsErr := s.shims()
	if shimsErr != nil || shims.Name != s.first.Name { // another kind wants a restart
		shims = s.first
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return s.made // what worked until now
	}
	if of := id + shims.ID; s.made == nil || s.madeOf != of {
		s.made = image.NewChain(shims, keys[0].Cert.Raw, authenticode.NewSigner(keys...).Sign)
		s.made.ID += id
		s.made.KeyDisk, s.made.NoKeyDisk = s.keyDisk(shims)
		s.madeOf = of
	}
	return s.made
}

// keyDisk makes the disk that firmware in Setup Mode takes our keys from.
func (s *secureBoot) keyDisk(shims binary.Shims) (*segment.File, error) {
	if shims.SystemdBoot == nil {
		return nil, shims.NoSystemdBoot
	}
	keys, err := s.keys.Keys()
	if err != nil {
		return nil, err
	}
	others, err := secureboot.Authorities(shims.Shim, secureboot.HostDB)
	if err != nil {
		return nil, err
	}
	updates, err := secureboot.Updates(keys, others)
	if err != nil {
		return nil, err
	}
	return image.KeyDisk(shims.SystemdBoot, updates)
}

// HasMokManager tells whether a person can make a node trust our key at its screen: iPXE's
// own shim has no MokManager.
func (s *secureBoot) HasMokManager() bool { return s.first.MokManager != nil }

// NoKeyDisk says why firmware in Setup Mode cannot be enrolled without a person; nil: it
// can.
func (s *secureBoot) NoKeyDisk() error {
	if c := s.chain(); c != nil {
		return c.NoKeyDisk
	}
	return provisioning.Errorf(provisioning.Unavailable, "the key for Secure Boot cannot be read")
}

// Fingerprint is that of our certificate.
func (s *secureBoot) Fingerprint() ([sha256.Size]byte, error) {
	keys, err := s.keys.Keys()
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return keys[0].Fingerprint(), nil
}

// Trusts notes that a node has run what our key signed. While two keys sign it may be
// either, and the former one is what it is sure to trust.
func (s *secureBoot) Trusts(m provisioning.MAC) {
	keys, err := s.keys.Keys()
	if err == nil {
		err = s.ledger.Trusts(m, keys[len(keys)-1].Fingerprint())
	}
	if err != nil {
		s.log.Warn("cannot note that a node trusts our key", "mac", m, "err", err)
	}
}

// Enrolling tells whether a node is to be made to trust our key at its next boot.
func (s *secureBoot) Enrolling(m provisioning.MAC) bool { return s.ledger.Enrolling(m) }

// Enrol has a node made to trust our key at its next boot.
func (s *secureBoot) Enrol(m provisioning.MAC) error { return s.ledger.Enrol(m) }

// Enrolled ends that.
func (s *secureBoot) Enrolled(m provisioning.MAC) {
	if err := s.ledger.Enrolled(m); err != nil {
		s.log.Warn("cannot end the enrolment of a node: it will be asked again", "mac", m, "err", err)
	}
}

// signKernels signs what is there and not yet signed, in the background: a kernel that
// was copied into the folder, say.
func (a *appliance) signKernels(ctx context.Context) error {
	signing := logonce.Series{Log: a.log, Level: slog.LevelWarn, Fault: "some kernels are not signed", End: "all kernels are signed"}
	for {
		signing.Report(a.secure.kernels.Sweep())
		if pause.For(ctx, signEvery) != nil {
			return nil
		}
	}
}

// signEvery is how often it is looked for kernels that are not signed. A node that asks
// for one before waits a second longer.
const signEvery = 20 * time.Second

type secureBootCmd struct {
	Show   secureBootShowCmd   `cmd:"" help:"Show our certificate, what it signs, and which nodes trust it."`
	Export secureBootExportCmd `cmd:"" help:"Write our certificate into a folder, as files for firmware."`
	Enrol  secureBootEnrolCmd  `cmd:"" help:"Make a node trust our certificate, at its next boot from us."`
	Rotate secureBootRotateCmd `cmd:"" help:"Replace the key; the former one goes on signing until you end that."`
}

func (secureBootCmd) Help() string {
	return `With [secure-boot] enabled = true in the configuration, x64 UEFI nodes boot with Secure
Boot on: shim, which Microsoft has signed, starts our iPXE and kernels, which we sign
with a key of our own. Each node must be made to trust that key once: by hand with
MokManager (farmboot secureboot enrol), in the firmware's set-up, or over Redfish
(farmboot secureboot export). Machines with Secure Boot off boot the same way.`
}

type secureBootShowCmd struct {
	JSON bool `help:"As JSON."`
}

func (secureBootShowCmd) Help() string {
	return `Examples:

  farmboot secureboot show
  farmboot secureboot show --json`
}

// secureBootStatus is what secureboot show --json prints.
type secureBootStatus struct {
	Enabled   bool              `json:"enabled"`           // [secure-boot] enabled
	Missing   string            `json:"missing,omitempty"` // why it does not work
	Shim      string            `json:"shim,omitempty"`    // the file that nodes get first
	SetupMode setupModeStatus   `json:"setup_mode"`
	Keys      []secureBootKey   `json:"keys"` // the key, and the former one, if that signs too; none before it is made
	Signs     []signedFile      `json:"signs"`
	Unsigned  []string          `json:"unsigned,omitempty"` // why kernels that are EFI programs cannot be signed
	Trusted   []secureboot.Note `json:"trusted"`            // nodes that have run what we signed, Secure Boot on
	ToEnrol   []secureboot.Note `json:"enrolling"`          // nodes that get MokManager at their next boot
}

// setupModeStatus is what firmware in Setup Mode is given, without a person.
type setupModeStatus struct {
	Missing string   `json:"missing,omitempty"` // why it is given nothing
	Keeps   []string `json:"keeps"`             // whose programs it starts besides: Microsoft's certificates
}

type secureBootKey struct {
	Name   string      `json:"name"`
	SHA256 fingerprint `json:"sha256"` // of the certificate
	Since  time.Time   `json:"since"`
	Former bool        `json:"former,omitempty"`
}

// fingerprint is the SHA-256 of a certificate; 64 hexadecimal digits in JSON.
type fingerprint [sha256.Size]byte

// MarshalText implements [encoding.TextMarshaler].
func (f fingerprint) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, f[:]), nil }

type signedFile struct {
	Name     string `json:"name"`
	SHA256   string `json:"sha256"`             // signed, as nodes get it
	Original string `json:"original,omitempty"` // SHA-256 of a kernel before
}

// gatherSecureBoot finds out where we stand. It makes no key.
func gatherSecureBoot(cfg setup.Config, now func() time.Time) (st secureBootStatus, err error) {
	st = secureBootStatus{Enabled: cfg.SecureBoot.Enabled, Keys: []secureBootKey{}, Signs: []signedFile{}}
	st.SetupMode.Keeps = []string{}
	ledger := openLedger(cfg, now)
	if st.Trusted, err = ledger.Trusting(); err != nil {
		return st, err
	}
	if st.ToEnrol, err = ledger.ToEnrol(); err != nil {
		return st, err
	}
	template := binary.Load(cfg.IPXE.Template)
	signing := openSigning(cfg, now)
	if !signing.Made() {
		shims, err := template.Shims()
		st.Shim = shims.Name
		if err != nil {
			st.Missing = provisioning.Detail(err)
		}
		return st, nil
	}
	keys, err := signing.Keys()
	if err != nil {
		return st, err
	}
	for i, k := range keys {
		st.Keys = append(st.Keys, secureBootKey{k.Cert.Subject.CommonName, k.Fingerprint(), k.Since(), i > 0})
	}
	kernels := kernel.Open(cfg.Kernel.Path, cfg.Kernel.NetPath)
	s, err := openSecureBoot(cfg, func() *binary.Template { return template }, kernels, slog.New(slog.DiscardHandler), now)
	if err != nil {
		st.Missing = provisioning.Detail(err)
		return st, nil
	}
	st.Shim = s.shim()
	if st.SetupMode, err = s.setupMode(); err != nil {
		return st, err
	}
	if !st.Enabled {
		return st, nil
	}
	return st, st.addKernels(s)
}

// setupMode tells what firmware in Setup Mode is given.
func (s *secureBoot) setupMode() (st setupModeStatus, err error) {
	st.Keeps = []string{}
	if err := s.NoKeyDisk(); err != nil {
		st.Missing = provisioning.Detail(err)
		return st, nil
	}
	others, err := secureboot.Authorities(s.first.Shim, secureboot.HostDB)
	for _, c := range others {
		st.Keeps = append(st.Keeps, c.Subject.CommonName)
	}
	return st, err
}

// addKernels adds the kernels that are signed.
func (st *secureBootStatus) addKernels(s *secureBoot) error {
	all, err := s.kernels.Kernels.List()
	if err != nil {
		return err
	}
	for _, k := range all {
		sum, ok, err := s.kernels.Digest(k.Name) // a command that shows writes nothing
		if err != nil {
			return err
		}
		if !ok {
			if err := signed.Unsignable(s.kernels.Kernels, k.Name); err != nil {
				st.Unsigned = append(st.Unsigned, provisioning.Detail(err))
			}
			continue
		}
		original, err := s.kernels.Kernels.SHA256(k.Name)
		if err != nil {
			return err
		}
		st.Signs = append(st.Signs, signedFile{k.Name, sum, original})
	}
	return nil
}

func (c secureBootShowCmd) Run(ctx context.Context, e *env, cfg setup.Config) error {
	e.warnIfDiffers(ctx, cfg)
	st, err := gatherSecureBoot(cfg, e.now)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, st)
	}
	var b strings.Builder
	switch {
	case st.Missing != "":
		fmt.Fprintf(&b, "Secure Boot: not possible: %s\n", st.Missing)
	case !st.Enabled:
		b.WriteString("Secure Boot: off; [secure-boot] enabled = true in the configuration switches it on\n")
	default:
		fmt.Fprintf(&b, "Secure Boot: on; x64 UEFI nodes get %s, then our iPXE\n", st.Shim)
	}
	switch {
	case st.Shim == "" || len(st.Keys) == 0:
	case st.SetupMode.Missing != "":
		fmt.Fprintf(&b, "firmware in Setup Mode: not given our key: %s\n", st.SetupMode.Missing)
	default:
		fmt.Fprintf(&b, "firmware in Setup Mode: given our key, when it is to be enrolled, beside %s\n", strings.Join(st.SetupMode.Keeps, ", "))
	}
	for _, k := range st.Keys {
		role := "key"
		if k.Former {
			role = "former key"
		}
		fmt.Fprintf(&b, "\n%s: %s\n  SHA-256  %s\n  since    %s\n", role, k.Name, ca.Colons(k.SHA256), localTime(k.Since))
	}
	switch {
	case len(st.Keys) == 0:
		b.WriteString("\nkey: none yet; the daemon makes it when it starts with Secure Boot on, and farmboot secureboot export does\n")
	case len(st.Signs) == 0:
		b.WriteString("\nsigned by it: our iPXE, with whatever script; no kernels\n")
	default:
		b.WriteString("\nsigned by it: our iPXE, with whatever script, and these kernels\n")
	}
	for _, f := range st.Signs {
		fmt.Fprintf(&b, "  %s\n    signed    %s\n    original  %s\n", f.Name, f.SHA256, f.Original)
	}
	for _, why := range st.Unsigned {
		fmt.Fprintf(&b, "\nwarning: %s\n", why)
	}
	notes := func(title string, all []secureboot.Note) {
		fmt.Fprintf(&b, "\n%s:", title)
		if len(all) == 0 {
			b.WriteString(" none\n")
			return
		}
		b.WriteString("\n")
		for _, n := range all {
			key := ""
			if n.Key != "" {
				key = "  key " + n.Key[:min(12, len(n.Key))]
			}
			fmt.Fprintf(&b, "  %s  since %s%s\n", n.MAC, localTime(n.At), key)
		}
	}
	notes("nodes that have shown that they trust it", st.Trusted)
	notes("nodes that are to be enrolled at their next boot from us", st.ToEnrol)
	_, err = fmt.Fprint(e.stdout, b.String())
	return err
}

type secureBootExportCmd struct {
	Dir fileName `arg:"" help:"Folder to write to; made if need be."`
}

func (secureBootExportCmd) Help() string {
	return `Writes our certificate as .cer, .pem, .esl and .auth, for firmware set-ups, Redfish
and machines in Setup Mode, and a README.txt that says what is for what. db.esl and
db.auth hold Microsoft's certificates too, as far as they are found here, so that
nothing that they have signed stops working. No private key is among the files.

Example:

  farmboot secureboot export secure-boot-keys`
}

func (c secureBootExportCmd) Run(ctx context.Context, e *env, cfg setup.Config) error {
	const accepted = "give the name of a folder, which is made if need be"
	if c.Dir == "-" {
		return usageError{"secureboot export: several files cannot be written to standard output: " + accepted}
	}
	if isURL(string(c.Dir)) {
		return provisioning.Errorf(provisioning.Invalid, "%s is a URL: %s", c.Dir, accepted)
	}
	if fi, err := os.Stat(string(c.Dir)); err == nil && !fi.IsDir() {
		return provisioning.Errorf(provisioning.Conflict, "%s is not a folder: accepted is the name of one, which is made if need be", c.Dir)
	}
	e.warnIfDiffers(ctx, cfg)
	keys, err := openSigning(cfg, e.now).Keys()
	if err != nil {
		return err
	}
	shims, err := binary.Load(cfg.IPXE.Template).Shims()
	if err != nil {
		fmt.Fprintf(e.stderr, "farmboot: warning: without shim some of Microsoft's certificates are not known here: %s\n", oneLine(err))
	}
	others, err := secureboot.Authorities(shims.Shim, secureboot.HostDB)
	if err != nil {
		return err
	}
	if err := secureboot.Export(string(c.Dir), keys, others); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "wrote our certificate into %s: see README.txt there\n", c.Dir)
	return err
}

type secureBootEnrolCmd struct {
	MAC    provisioning.MAC `arg:"" help:"MAC address of the node."`
	Cancel bool             `help:"Let it be: the node boots as usual."`
}

func (secureBootEnrolCmd) Help() string {
	return `At its next boot from us the node gets MokManager, with our certificate at hand over
the network, and its screen says which keys to press:

  Secure Boot off     over PXE or HTTP Boot; switch it on afterwards
  Secure Boot on      over UEFI HTTP Boot alone: what shim starts over PXE finds no
                      certificate. Or boot one of our sticks (farmboot image usb)
  Setup Mode          no person is needed: the firmware is given our key beside
                      Microsoft's, and Secure Boot is on afterwards

The files of farmboot secureboot export do the same in the firmware's set-up.

Example:

  farmboot secureboot enrol 52:54:00:00:00:b1`
}

func (c secureBootEnrolCmd) Run(ctx context.Context, e *env, cfg setup.Config) error {
	ledger := openLedger(cfg, e.now)
	if c.Cancel {
		return c.cancel(ctx, e, ledger)
	}
	if !cfg.SecureBoot.Enabled {
		return secureBootOff()
	}
	db, err := e.open(ctx)
	if err != nil {
		return err
	}
	shims, err := binary.Load(cfg.IPXE.Template).Shims()
	if err != nil {
		return err
	}
	a, err := db.assigner.Assignment(ctx, c.MAC)
	if err != nil {
		return err
	}
	if err := ledger.Enrol(c.MAC); err != nil {
		return err
	}
	if err := db.registry.Note(ctx, operator(), "node enrol", c.MAC.String(), nil, nil); err != nil {
		return fmt.Errorf("%s is to be enrolled, but the history cannot be written: %w", c.MAC, err)
	}
	if shims.MokManager != nil {
		fmt.Fprintf(e.stdout, "%s gets MokManager at its next boot from us; its screen says which keys to press\n", c.MAC)
		fmt.Fprintln(e.stdout, "with Secure Boot on it has to boot by UEFI HTTP Boot, or from a stick of ours: over PXE MokManager finds no certificate")
	} else {
		fmt.Fprintf(e.stdout, "%s boots as usual unless it is in Setup Mode: iPXE's own shim has no MokManager; the files of farmboot secureboot export go into the firmware's db\n", c.MAC)
	}
	setupMode := "in Setup Mode it is given the key without a person"
	if shims.NoSystemdBoot != nil {
		setupMode = "in Setup Mode it could be given the key without a person, but " + provisioning.Detail(shims.NoSystemdBoot)
	}
	if _, err := fmt.Fprintln(e.stdout, setupMode); err != nil {
		return err
	}
	return db.warnOfEnrolment(ctx, e, a, c.MAC)
}

// cancel ends an enrolment. That needs no database, its line of the history does.
func (c secureBootEnrolCmd) cancel(ctx context.Context, e *env, ledger *secureboot.Ledger) error {
	enrolling := ledger.Enrolling(c.MAC)
	if err := ledger.Enrolled(c.MAC); err != nil {
		return err
	}
	if !enrolling {
		_, err := fmt.Fprintf(e.stdout, "%s was not to be enrolled\n", c.MAC)
		return err
	}
	db, err := e.open(ctx)
	if err == nil {
		err = db.registry.Note(ctx, operator(), registry.EnrolCancel, c.MAC.String(), nil, nil)
	}
	if err != nil {
		return fmt.Errorf("%s is not to be enrolled any more, but the history cannot be written: %w", c.MAC, err)
	}
	_, err = fmt.Fprintf(e.stdout, "%s is not to be enrolled any more\n", c.MAC)
	return err
}

// warnOfEnrolment warns of a node whose next boot is not from us, or that may be
// the wrong one.
func (d *database) warnOfEnrolment(ctx context.Context, e *env, a provisioning.Assignment, mac provisioning.MAC) error {
	warning := ""
	switch {
	case a.Policy == provisioning.Boot && a.Registered:
		return nil
	case a.Policy == provisioning.Boot:
		return d.warnOfStrangers(ctx, e, mac)
	case !a.Registered:
		register, err := d.howToRegister(ctx, mac)
		if err != nil {
			return err
		}
		warning = fmt.Sprintf("is not registered, and unregistered nodes boot nothing here (unknown = %q): %s", a.Policy, register)
	case !a.Node.Exit:
		warning = "goes on to its next boot device before that, once (farmboot node once " + mac.String() + " none ends that)"
	default:
		warning = "goes on to its next boot device at every boot (farmboot node set " + mac.String() + " --no-exit ends that)"
	}
	_, err := fmt.Fprintf(e.stderr, "farmboot: warning: %s %s\n", mac, warning)
	return err
}

// warnOfStrangers warns of MAC addresses that are not registered, and have not been seen here: they
// may be mistyped.
func (d *database) warnOfStrangers(ctx context.Context, e *env, macs ...provisioning.MAC) error {
	for _, mac := range macs {
		_, err := d.registry.Node(ctx, operator(), mac)
		if provisioning.ErrorCode(err) == provisioning.NotFound {
			_, err = d.registry.Seen(ctx, operator(), mac)
		}
		if err == nil {
			continue
		}
		if provisioning.ErrorCode(err) != provisioning.NotFound {
			return err
		}
		if _, err := fmt.Fprintf(e.stderr, "farmboot: warning: %s is not registered, and has not been seen booting here: is it the right one?\n", mac); err != nil {
			return err
		}
	}
	return nil
}

// secureBootOff refuses what has a meaning only where Secure Boot is on.
func secureBootOff() error {
	return provisioning.Errorf(provisioning.Conflict, "Secure Boot is off here: set [secure-boot] enabled = true in the configuration first, and restart the daemon (systemctl restart farmboot)")
}

type secureBootRotateCmd struct {
	Yes    bool `short:"y" help:"Do not ask."`
	Finish bool `help:"The former key signs no more. Nodes that trust only that stop booting with Secure Boot on."`
}

func (secureBootRotateCmd) Help() string {
	return `Makes a new key. Everything is signed with both until --finish, so nodes boot on while
they are enrolled anew, one by one. Asks on a terminal, as every node is to be enrolled
anew then, and goes on without asking where there is none, in a script.

Examples:

  farmboot secureboot rotate
  farmboot secureboot rotate --finish`
}

func (c secureBootRotateCmd) Run(ctx context.Context, e *env, cfg setup.Config) error {
	if !cfg.SecureBoot.Enabled {
		return secureBootOff()
	}
	e.warnIfDiffers(ctx, cfg)
	keys := openSigning(cfg, e.now)
	question := "Make a new key, and have every node enrolled anew?"
	if c.Finish {
		question = "End the former key? Nodes that trust only that stop booting with Secure Boot on."
	}
	if ok, err := e.confirm(question, c.Yes); err != nil || !ok {
		return err
	}
	if c.Finish {
		if err := keys.Retire(); err != nil {
			return err
		}
		_, err := fmt.Fprintln(e.stdout, "the former key signs no more")
		return err
	}
	if err := keys.Rotate(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(e.stdout, "made a new key; the former one signs too, until: farmboot secureboot rotate --finish")
	return err
}
