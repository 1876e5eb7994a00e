package upstream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"aead.dev/minisign"
	"golang.org/x/sys/unix"

	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
)

// Options are what an Upstream needs. All fields are required, but those that say
// otherwise.
type Options struct {
	Base   string // URL of the service, http or https
	Trust  string // minisign public key that kernels must be signed by; "": none
	Keep   int    // how many former kernels a run mode keeps
	Modes  []provisioning.RunMode
	Client *Client
	Store  *kernel.Store
	Editor *kernel.Editor
	Log    *slog.Logger
	Now    func() time.Time
	// By is who has kernels taken; the zero Actor: the Upstream itself.
	By provisioning.Actor
	// Taken is told of each kernel that was taken; nil: nobody.
	Taken func(Result)
}

// Upstream takes kernels from one service. Its methods are safe for concurrent use.
type Upstream struct {
	Options
	base  *url.URL
	trust *minisign.PublicKey

	ctx  context.Context // of downloads, which no single one of their readers ends
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	running  map[string]*Download
	answered map[string]answered
	asking   map[string]bool // for [Upstream.Heard]
	looked   looked
	state    sync.Mutex // of the file that remembers what was taken
}

// answered is what the service last said of a kernel.
type answered struct {
	until time.Time
	err   error
}

// CheckBase reads the URL of a service. The error is one line for people.
func CheckBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, provisioning.Errorf(provisioning.Invalid, "bad upstream %.200q: accepted is the URL of a service, such as https://bootstrap.example.org", s)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

// CheckTrust reads a minisign public key. The error is one line for people.
func CheckTrust(s string) (*minisign.PublicKey, error) {
	if s == "" {
		return nil, nil
	}
	key := new(minisign.PublicKey)
	if err := key.UnmarshalText([]byte(s)); err != nil {
		return nil, provisioning.Errorf(provisioning.Invalid, "bad key %.80q: accepted is a minisign public key, the second line of minisign.pub", s)
	}
	return key, nil
}

// New returns an Upstream. Close it.
func New(o Options) (*Upstream, error) {
	u := &Upstream{Options: o, running: map[string]*Download{}, answered: map[string]answered{}, asking: map[string]bool{}}
	var err error
	if u.base, err = CheckBase(o.Base); err != nil {
		return nil, err
	}
	if u.trust, err = CheckTrust(o.Trust); err != nil {
		return nil, err
	}
	u.ctx, u.stop = context.WithCancel(context.Background())
	return u, nil
}

// Close ends all downloads, and waits for that.
func (u *Upstream) Close() {
	u.stop()
	u.wg.Wait()
}

// url is where the service has a kernel, "NAME" or "net/R.efi".
func (u *Upstream) url(rel string) string { return u.base.JoinPath("kernel", rel).String() }

// original is where the service has a kernel as its maker built it: an appliance with
// Secure Boot gives nodes one that it has signed. Other servers do not look at the query.
func (u *Upstream) original(rel string) string { return u.url(rel) + "?original" }

// by is who takes kernels in the history, and where they come from.
func (u *Upstream) by() provisioning.Actor {
	if u.By.Name == "" {
		return provisioning.Actor{Name: "upstream", Role: provisioning.RoleAdmin, From: u.base.Redacted()}
	}
	by := u.By
	by.From += ", " + u.String()
	return by
}

// knows refuses what the service is never asked for: other names than those of kernels,
// and default kernels of run modes that there are none of.
func (u *Upstream) knows(rel string) error {
	if name, ok := strings.CutPrefix(rel, "net/"); ok {
		if slices.ContainsFunc(u.Modes, func(m provisioning.RunMode) bool { return kernel.DefaultOf(m) == rel }) {
			return nil
		}
		return provisioning.Errorf(provisioning.NotFound, "no run mode boots %.60s", name)
	}
	return kernel.CheckName(rel)
}

const (
	hasWait     = 5 * time.Second  // how long a node waits to hear whether there is a kernel
	hasFor      = 30 * time.Second // how long that is believed
	brokenFor   = 5 * time.Second  // how long a service that failed is left alone
	heardFor    = 30 * time.Second // how much longer it counts for those who do not wait
	maxAnswered = 1000
	maxRunning  = 16 // downloads at a time
)

// Has returns nil if the service has a kernel, or is giving it to us right now. Others'
// questions are answered from memory for some seconds.
func (u *Upstream) Has(ctx context.Context, rel string) error {
	if err := u.knows(rel); err != nil {
		return err
	}
	u.mu.Lock()
	_, running := u.running[rel]
	last, ok := u.answered[rel]
	u.mu.Unlock()
	if running {
		return nil
	}
	if ok && u.Now().Before(last.until) {
		return last.err
	}
	_, err := u.Size(ctx, rel)
	return err
}

// Heard is Has by what the service has said: it waits for nothing. Where that is not what Has
// would believe, the service is asked meanwhile, and whoever asks again some time later knows.
// known is false where it has said nothing lately.
func (u *Upstream) Heard(rel string) (known bool, err error) {
	if err := u.knows(rel); err != nil {
		return true, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running[rel] != nil {
		return true, nil
	}
	last, now := u.answered[rel], u.Now()
	if !now.Before(last.until) {
		u.ask(rel)
	}
	return now.Before(last.until.Add(heardFor)), last.err
}

// ask asks the service for a kernel, and waits for nothing; u.mu is locked.
func (u *Upstream) ask(rel string) {
	if u.asking[rel] || len(u.asking) >= maxRunning || u.ctx.Err() != nil {
		return
	}
	u.asking[rel] = true
	u.wg.Go(func() {
		_, _ = u.Size(u.ctx, rel) // which remembers what it hears
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.asking, rel)
	})
}

// Size asks the service for the size of a kernel in bytes, -1 if it does not say.
func (u *Upstream) Size(ctx context.Context, rel string) (int64, error) {
	if err := u.knows(rel); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, hasWait)
	defer cancel()
	size, err := u.Client.Head(ctx, u.original(rel))
	if errors.Is(err, context.DeadlineExceeded) {
		err = provisioning.Errorf(provisioning.Unavailable, "%s does not answer", u.base.Redacted())
	}
	if !errors.Is(err, context.Canceled) {
		u.remember(rel, err)
	}
	return size, err
}

// remember keeps what the service said for a while.
func (u *Upstream) remember(rel string, err error) {
	long := hasFor
	if err != nil && provisioning.ErrorCode(err) != provisioning.NotFound {
		long = brokenFor
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.answered) >= maxAnswered {
		clear(u.answered)
	}
	u.answered[rel] = answered{u.Now().Add(long), err}
}

// forgive forgets that the service failed, as it does not any more.
func (u *Upstream) forgive(rel string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.answered[rel].err != nil {
		delete(u.answered, rel)
	}
}

// saidBefore tells whether the service failed in the same way when it was asked last.
func (u *Upstream) saidBefore(rel string, err error) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := u.answered[rel].err
	return last != nil && provisioning.Detail(last) == provisioning.Detail(err)
}

// Result is what became of a kernel.
type Result struct {
	Kernel  string // as it was asked for
	Name    string // of the file here
	Size    int64  // bytes
	SHA256  string // "": not known before it is taken
	Changed bool   // it was taken
	Pointed bool   // the run mode boots it from now on
	Leaves  string // the kernel that the run mode boots in its place until then, which somebody gave it; "": none
}

// Fetch takes a kernel that is not here, once for all who ask for it at a time. The
// download does not end with ctx.
func (u *Upstream) Fetch(ctx context.Context, rel string) (*Download, error) {
	if err := u.knows(rel); err != nil {
		return nil, err
	}
	u.mu.Lock()
	last, ok := u.answered[rel]
	u.mu.Unlock()
	if ok && last.err != nil && u.Now().Before(last.until) {
		return nil, last.err
	}
	return u.begin(ctx, rel, func(ctx context.Context, d *Download) (Result, error) {
		return u.take(ctx, rel, Validator{}, d, true)
	})
}

// Take is Fetch, and waits until the kernel is stored.
func (u *Upstream) Take(ctx context.Context, rel string) error {
	d, err := u.Fetch(ctx, rel)
	if err != nil {
		return err
	}
	_, err = d.Result(ctx)
	return err
}

// begin starts a download, or joins the one that goes on.
func (u *Upstream) begin(ctx context.Context, rel string, do func(context.Context, *Download) (Result, error)) (*Download, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if d := u.running[rel]; d != nil {
		return d, nil
	}
	if len(u.running) >= maxRunning {
		return nil, provisioning.Errorf(provisioning.Unavailable, "%d kernels are being taken from upstream already: try again", maxRunning)
	}
	d := newDownload()
	u.running[rel] = d
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unlink := context.AfterFunc(u.ctx, cancel)
	u.wg.Go(func() {
		defer cancel()
		defer unlink()
		result, err := do(ctx, d)
		if err == nil || errors.Is(err, ErrUnchanged) {
			u.forgive(rel)
		} else {
			level := slog.LevelWarn
			if provisioning.ErrorCode(err) == provisioning.NotFound || errors.Is(err, errForbidden) || errors.Is(err, context.Canceled) || u.saidBefore(rel, err) {
				level = slog.LevelDebug
			}
			u.Log.Log(ctx, level, "a kernel could not be taken from upstream", "kernel", rel, "upstream", u.base.Redacted(), "err", provisioning.Detail(err))
			u.remember(rel, err)
		}
		u.mu.Lock()
		delete(u.running, rel)
		u.mu.Unlock()
		d.update(func() { d.done, d.result, d.err = true, result, err })
		d.leave()
	})
	return d, nil
}

// headSize is how many bytes are looked at before any goes on to a node.
const headSize = 64 << 10

// take gets a kernel, checks and stores it. With point, a run mode boots it then.
func (u *Upstream) take(ctx context.Context, rel string, known Validator, d *Download, point bool) (_ Result, err error) {
	before, _ := u.Store.SHA256(rel)
	from, err := u.Client.Get(ctx, u.original(rel), known)
	if answers(err) {
		u.looked.hear() // however long the kernel takes
	}
	if err != nil {
		return Result{}, notGiven{err}
	}
	defer from.Close()
	if err := u.room(rel, from.Size); err != nil {
		return Result{}, err
	}
	in, err := u.Store.Receive()
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, in.Discard()) }()
	file, err := in.Open()
	if err != nil {
		return Result{}, err
	}
	d.update(func() { d.file, d.size, d.name = file, from.Size, from.Name })
	if err := u.receive(rel, from, in, d); err != nil {
		return Result{}, err
	}
	want := kernel.Want{Size: max(from.Size, 0)}
	if want.SHA256, err = u.offeredSum(ctx, rel); err != nil {
		return Result{}, err
	}
	if err := in.Check(rel, want); err != nil {
		return Result{}, err
	}
	signature, err := u.checkSignature(ctx, rel, in)
	if err != nil {
		return Result{}, err
	}
	boots, _ := u.Store.SHA256(rel)
	if boots != before && boots != in.SHA256() {
		point = false // somebody has given the run mode another kernel since we began
	}
	return u.install(ctx, rel, from, in, signature, point, boots)
}

// room refuses what is too large, or would leave the disk full.
func (u *Upstream) room(rel string, size int64) error {
	if size > kernel.MaxSize {
		return provisioning.Errorf(provisioning.Invalid, "kernel %s is larger than %d bytes", rel, kernel.MaxSize)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(u.Store.Folder(), &fs); err != nil {
		return nil // there is none yet
	}
	if free := int64(fs.Bavail) * fs.Bsize; size > free {
		return provisioning.Errorf(provisioning.Unavailable, "store kernel %s: the disk is full: it has %d bytes, and %d are free (%w)", rel, size, free, unix.ENOSPC)
	}
	return nil
}

// checkHead refuses what does not begin as a kernel of that size, -1 if that is not known.
func checkHead(rel string, head io.ReaderAt, size int64) error {
	if size < 0 {
		size = kernel.MaxSize
	}
	return kernel.CheckFile(rel, head, size)
}

// receive writes what comes, and lets nobody read before it begins as a kernel does.
func (u *Upstream) receive(rel string, from *File, in *kernel.Incoming, d *Download) error {
	started := false
	start := func() error {
		if err := checkHead(rel, in, from.Size); err != nil {
			return err
		}
		started = true
		d.update(func() { d.started = true })
		return nil
	}
	buffer := make([]byte, 256<<10)
	for {
		n, err := from.Read(buffer)
		if _, err := in.Write(buffer[:n]); err != nil {
			return err
		}
		d.update(func() { d.got = in.Size() })
		if in.Size() > kernel.MaxSize {
			return u.room(rel, in.Size())
		}
		if !started && (in.Size() >= headSize || err == io.EOF) {
			if err := start(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// offeredSum is the SHA-256 that the service offers for a kernel; "" if it offers none.
func (u *Upstream) offeredSum(ctx context.Context, rel string) (string, error) {
	text, err := u.Client.Text(ctx, u.original(rel+".sha256"), 4<<10)
	if errors.Is(err, errLarger) && beginsWithDigest(text) {
		return "", err // a list of digests, of which we cannot tell which is this kernel's
	}
	if err != nil {
		if offersNot(err) {
			return "", nil
		}
		return "", err
	}
	word, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if b, err := hex.DecodeString(word); err != nil || len(b) != 32 {
		return "", nil // something else is at that URL
	}
	return word, nil
}

// beginsWithDigest tells a digest, or a list of them, from something else.
func beginsWithDigest(text []byte) bool {
	const digits = 2 * sha256.Size
	if len(text) < digits {
		return false
	}
	_, err := hex.DecodeString(string(text[:digits]))
	return err == nil
}

// offersNot tells an answer that there is no such file from a failure to answer.
func offersNot(err error) bool {
	return provisioning.ErrorCode(err) == provisioning.NotFound || errors.Is(err, errPage) || errors.Is(err, errForbidden) || errors.Is(err, errLarger)
}

// errUnsigned is why a kernel is refused whose signature is missing or wrong.
var errUnsigned = errors.New("is not signed")

// checkSignature checks a kernel's signature, where a key is to be trusted.
func (u *Upstream) checkSignature(ctx context.Context, rel string, in *kernel.Incoming) ([]byte, error) {
	signature, err := u.Client.Text(ctx, u.url(rel)+".minisig", 8<<10)
	if u.trust == nil {
		if err != nil {
			return nil, nil
		}
		var s minisign.Signature
		if s.UnmarshalText(signature) != nil {
			return nil, nil // something else is at that URL
		}
		return signature, nil // for those who take the kernel from us
	}
	if err != nil && offersNot(err) {
		return nil, provisioning.Errorf(provisioning.Invalid, "kernel %s %w: there is no %s.minisig, and [kernel] trust wants one", rel, errUnsigned, u.url(rel))
	}
	if err != nil {
		return nil, err
	}
	file, err := in.Open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// A signature of the older kind is one of the whole, which need not be in memory.
	text, err := unix.Mmap(int(file.Fd()), 0, int(in.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("read kernel %s: %w", rel, err)
	}
	defer unix.Munmap(text)
	if !minisign.Verify(*u.trust, text, signature) {
		return nil, provisioning.Errorf(provisioning.Invalid, "kernel %s %w by the key that [kernel] trust names", rel, errUnsigned)
	}
	return signature, nil
}

// install makes what was received a kernel, and with point the run mode's whose default it
// is; boots is the SHA-256 of what that boots now.
func (u *Upstream) install(ctx context.Context, rel string, from *File, in *kernel.Incoming, signature []byte, point bool, boots string) (Result, error) {
	ctx = context.WithoutCancel(ctx)
	sum := in.SHA256()
	name, mode, isDefault := rel, provisioning.RunMode(""), false
	if r, ok := kernel.ModeOf(rel); ok {
		mode, isDefault = r, true
		name = u.nameFor(mode, from.Name, sum)
	}
	news := false
	if known, err := u.Store.SHA256(name); err != nil || known != sum {
		err := u.Editor.Keep(ctx, u.by(), in, name)
		if kept, _ := u.Store.SHA256(name); kept != sum {
			return Result{}, err
		}
		u.unnoted(err)
		news = true
	}
	if signature != nil {
		if err := u.Store.PutSignature(name, signature); err != nil {
			return Result{}, err
		}
	}
	result := Result{Kernel: rel, Name: name, Size: in.Size(), SHA256: sum, Changed: true}
	if isDefault && point {
		// What it boots already is no choice: the history must not show one.
		if boots != sum {
			err := u.Editor.Point(ctx, u.by(), mode, name, false)
			if boots, _ := u.Store.SHA256(rel); boots != sum {
				return result, err
			}
			u.unnoted(err)
			news = true
		}
		result.Pointed = true
	}
	u.Log.Info("took a kernel from upstream", "kernel", rel, "name", name, "bytes", in.Size(), "sha256", sum, "boots", result.Pointed)
	if u.Taken != nil && news {
		u.Taken(result)
	}
	return result, u.noteTaken(rel, taken{Upstream: u.base.String(), Validator: from.lasting(), Name: name, SHA256: sum})
}

// unnoted logs why something that was done is not in the history: nodes boot without.
func (u *Upstream) unnoted(err error) {
	if err != nil {
		u.Log.Warn("not in the history", "err", provisioning.Detail(err))
	}
}

// nameFor is what a run mode's kernel is called here: as upstream calls it, unless another
// kernel has that name.
func (u *Upstream) nameFor(m provisioning.RunMode, theirs, sum string) string {
	if kernel.CheckNewName(theirs) == nil && !strings.HasPrefix(theirs, string(m)+".") {
		if known, err := u.Store.SHA256(theirs); err == nil && known == sum || provisioning.ErrorCode(err) == provisioning.NotFound {
			return theirs
		}
	}
	return kernel.ByDigest(m, sum)
}

// stateFile, in the kernel folder, remembers what was taken.
func (u *Upstream) stateFile() string { return filepath.Join(u.Store.Folder(), ".upstream.json") }

// String names the service.
func (u *Upstream) String() string { return fmt.Sprintf("upstream %s", u.base.Redacted()) }
