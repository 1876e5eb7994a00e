package http

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"farmboot/http/answer"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
)

// kernel answers /kernel/NAME and /kernel/net/NAME, and the SHA-256 of each at the
// same URL plus ".sha256": signed for Secure Boot where that is on, and with ?original as
// its maker built it.
func (b *Boot) kernel(w http.ResponseWriter, r *http.Request) error {
	name, err := answer.Var(r, "name")
	if err != nil {
		return err
	}
	if stem, ok := strings.CutSuffix(name, ".minisig"); ok {
		return b.signature(w, r, stem)
	}
	if !strings.HasSuffix(name, ".sha256") {
		defer b.downloads(w, r)()
	}
	err = b.stored(w, r, name)
	if b.Upstream != nil && provisioning.ErrorCode(err) == provisioning.NotFound && !strings.HasSuffix(name, ".sha256") {
		err = b.pull(w, r, name, err)
	}
	return err
}

// stored answers with a kernel that is here, or the SHA-256 of one.
func (b *Boot) stored(w http.ResponseWriter, r *http.Request, name string) error {
	open, sum := b.Kernels.Open, b.Kernels.SHA256
	if b.signs(r) {
		open, sum = b.Signed.Open, b.signedSum
	}
	f, fi, err := open(name)
	if stem, ok := strings.CutSuffix(name, ".sha256"); ok && err != nil {
		sum, err := sum(stem)
		if err != nil {
			return err
		}
		return writeSum(w, sum, stem)
	}
	if err != nil {
		if upstream := b.Upstream != nil && provisioning.ErrorCode(err) == provisioning.NotFound; r.Method == http.MethodGet && !upstream {
			return b.refuse(r, err)
		}
		return err
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Etag", `"`+kernel.Version(fi)+`"`)
	if file := b.Kernels.FileOf(name); file != "" && file != name {
		h.Set("Content-Location", "/kernel/"+file) // by which an appliance that takes it knows its name
	}
	start := b.Now()
	if rec, ok := w.(*answer.Recorder); ok {
		rec.Progress = b.progress(r, name, fi.Size(), start)
	}
	serveContent(w, r, fi.ModTime(), fi.Size(), f)
	b.recordTransfer(w, r, provisioning.Event{Stage: provisioning.StageKernel, File: name, Size: fi.Size()}, start)
	return nil
}

// progressEvery is how often it is told how far a kernel has come. On a LAN most are
// through before the first time.
const progressEvery = 3 * time.Second

// progress returns a function that records how far a kernel has come.
func (b *Boot) progress(r *http.Request, what string, size int64, start time.Time) func(int64) {
	told := start
	return func(sent int64) {
		now := b.Now()
		if now.Sub(told) < progressEvery || sent >= size {
			return
		}
		told = now
		b.Record(provisioning.Event{
			At: now, MAC: cardOf(r), Peer: answer.PeerOf(r), Stage: provisioning.StageLoading, File: what,
			Bytes: sent, Size: size, Duration: now.Sub(start),
		})
	}
}

// signature answers /kernel/NAME.minisig with the minisign signature of a kernel, where
// there is one, for those who take the kernel from us.
func (b *Boot) signature(w http.ResponseWriter, r *http.Request, name string) error {
	f, err := b.Kernels.OpenSignature(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

// pull answers with a kernel that is not here but upstream, while it is being stored: as
// it comes, to all who ask for it, at the speed of the slower side. What upstream gives is
// checked before the last bytes go out, so that no client gets all of a bad one.
func (b *Boot) pull(w http.ResponseWriter, r *http.Request, name string, missing error) error {
	ctx := upstream.WithHops(r.Context(), r)
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.Method == http.MethodHead {
		size, err := b.Upstream.Size(ctx, name)
		if err != nil {
			return kernel.NotUpstream(name, missing, err)
		}
		if !b.signs(r) {
			announce(w, size)
		}
		return nil
	}
	if b.signs(r) { // a signature covers the whole
		return b.pullWhole(ctx, w, r, name, missing)
	}
	start := b.Now()
	var from io.ReadCloser
	var size int64
	d, err := b.Upstream.Fetch(ctx, name)
	if err == nil {
		from, size, err = d.Open(r.Context())
	}
	if errors.Is(err, os.ErrClosed) { // it has just been stored
		return b.stored(w, r, name)
	}
	if err != nil {
		return b.refuse(r, kernel.NotUpstream(name, missing, err))
	}
	defer from.Close()
	if file := d.Name(); kernel.CheckNewName(file) == nil && file != name {
		w.Header().Set("Content-Location", "/kernel/"+file)
	}
	announce(w, size)
	tell := b.progress(r, name, size, start)
	buffer, sent := make([]byte, 64<<10), int64(0)
	for {
		n, err := from.Read(buffer)
		answer.ExtendWrite(w) // how long it takes is up to upstream too
		if _, err := w.Write(buffer[:n]); err != nil {
			return nil // the client has gone
		}
		sent += int64(n)
		tell(sent)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			_ = b.refuse(r, err)
			panic(http.ErrAbortHandler) // the only way to say so that the answer has begun
		}
	}
	b.recordTransfer(w, r, provisioning.Event{Stage: provisioning.StageKernel, File: name, Size: sent}, start)
	return nil
}

// putOff is how often the deadline of an answer is put off that waits for a download.
const putOff = 5 * time.Second

// pullWhole waits until a kernel has been taken from upstream, and answers with it signed.
func (b *Boot) pullWhole(ctx context.Context, w http.ResponseWriter, r *http.Request, name string, missing error) error {
	d, err := b.Upstream.Fetch(ctx, name)
	for err == nil {
		step, cancel := context.WithTimeout(r.Context(), putOff)
		_, err = d.Result(step)
		cancel()
		answer.ExtendWrite(w)
		if err == nil {
			return b.refuse(r, b.stored(w, r, name))
		}
		if errors.Is(err, context.DeadlineExceeded) && r.Context().Err() == nil {
			err = nil // it is still coming
		}
	}
	return b.refuse(r, kernel.NotUpstream(name, missing, err))
}

// refuse records that a node did not get its kernel, if err says so, and returns err.
func (b *Boot) refuse(r *http.Request, err error) error {
	if err != nil {
		b.Record(provisioning.Event{At: b.Now(), MAC: cardOf(r), Peer: answer.PeerOf(r), Stage: provisioning.StageRefused, Cause: refusalOf(err)})
	}
	return err
}

// announce says how long an answer is, where that is known.
func announce(w http.ResponseWriter, size int64) {
	if size >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
}

// listKernels answers /api/images, by which mirrors know what there is: the kernels,
// newest first.
func (b *Boot) listKernels(w http.ResponseWriter, _ *http.Request) error {
	kernels, err := b.Kernels.List()
	if err != nil {
		return err
	}
	type image struct {
		Name      string `json:"name"`
		Timestamp int64  `json:"timestamp"` // Unix time
	}
	list := make([]image, len(kernels))
	for i, k := range kernels {
		list[i] = image{k.Name, k.ModTime.Unix()}
	}
	slices.SortStableFunc(list, func(a, b image) int { return cmp.Compare(b.Timestamp, a.Timestamp) })
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	return json.NewEncoder(w).Encode(list)
}
