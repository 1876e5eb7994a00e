package upstream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/atomicfile"
	"farmboot/provisioning/logonce"
	"farmboot/provisioning/pause"
)

// taken is what was taken last under a name, "net/R.efi" or "NAME".
type taken struct {
	Upstream string `json:"upstream"`
	Validator
	Name   string   `json:"name"` // of the file here
	SHA256 string   `json:"sha256"`
	Former []former `json:"former,omitempty"` // newest first
}

// former is a kernel that a run mode booted before.
type former struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// readTaken reads what was taken. A file that cannot be read means that all is taken anew.
func (u *Upstream) readTaken() map[string]taken {
	all := map[string]taken{}
	text, err := os.ReadFile(u.stateFile())
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		u.Log.Warn("what was taken from upstream is not known any more", "file", u.stateFile(), "err", err)
		return map[string]taken{}
	}
	return all
}

// Held names the kernel that was taken last for a run mode, where it does not boot that
// because somebody gave it another one; "" where it does, or has none.
func (u *Upstream) Held(m provisioning.RunMode) string {
	rel := kernel.DefaultOf(m)
	last := u.readTaken()[rel]
	sum, err := u.Store.SHA256(rel)
	if err != nil || sum == last.SHA256 || last.Upstream != u.base.String() {
		return ""
	}
	return last.Name
}

// noteTaken remembers what was taken, and removes former kernels beyond those to be kept.
func (u *Upstream) noteTaken(rel string, now taken) error {
	u.state.Lock()
	defer u.state.Unlock()
	all := u.readTaken()
	old, ok := all[rel]
	now.Former = old.Former
	_, isDefault := kernel.ModeOf(rel)
	var gone []former
	if ok && isDefault && old.Name != now.Name {
		now.Former = slices.DeleteFunc(now.Former, func(f former) bool { return f.Name == now.Name || f.Name == old.Name })
		now.Former = slices.Insert(now.Former, 0, former{old.Name, old.SHA256})
		if len(now.Former) > u.Keep {
			now.Former, gone = now.Former[:u.Keep:u.Keep], now.Former[u.Keep:]
		}
		gone = slices.DeleteFunc(gone, func(f former) bool {
			needed := u.Editor.Needs(context.Background(), f.Name, u.Keep)
			if needed != nil { // it is looked at again at the next release
				u.Log.Info("a former kernel stays", "kernel", f.Name, "because", provisioning.Detail(needed))
				now.Former = append(now.Former, f)
			}
			return needed != nil
		})
	}
	all[rel] = now
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(u.stateFile(), 0o644, text); err != nil {
		return provisioning.Errorf(provisioning.Unavailable, "write %s: %w", u.stateFile(), err)
	}
	for _, f := range gone {
		u.forget(f, all)
	}
	return nil
}

// forget removes a former kernel, unless something needs it or it is another one by now.
func (u *Upstream) forget(f former, all map[string]taken) {
	for _, t := range all {
		if t.Name == f.Name || slices.ContainsFunc(t.Former, func(o former) bool { return o.Name == f.Name }) {
			return
		}
	}
	if sum, err := u.Store.SHA256(f.Name); err != nil || sum != f.SHA256 {
		return
	}
	if err := u.Editor.Remove(context.Background(), u.by(), f.Name); err != nil {
		u.Log.Info("a former kernel stays", "kernel", f.Name, "because", provisioning.Detail(err))
		return
	}
	u.Log.Info("removed a former kernel", "kernel", f.Name)
}

// SyncOptions say how to sync.
type SyncOptions struct {
	Names  []string // kernels besides those of the run modes
	DryRun bool     // only tell what would be taken
	// Insist gives run modes the upstream's kernel even if somebody gave them another
	// one since it was taken.
	Insist bool
	// Tell is told of each kernel that the service has; nil: nobody.
	Tell func(Result)
	// Progress is told now and then how far a kernel has come; nil: nobody.
	Progress func(rel string, got, size int64)
}

// Sync takes what the service has anew: the kernels of the run modes, those that were
// taken by name, and those named in the options. One that fails does not stop the others;
// it stays as it was.
func (u *Upstream) Sync(ctx context.Context, o SyncOptions) error {
	rels := make([]string, 0, len(u.Modes)+len(o.Names))
	for _, m := range u.Modes {
		rels = append(rels, kernel.DefaultOf(m))
	}
	all := u.readTaken()
	for rel, t := range all {
		if _, isDefault := kernel.ModeOf(rel); !isDefault && t.Upstream == u.base.String() {
			rels = append(rels, rel)
		}
	}
	rels = append(rels, o.Names...)
	slices.Sort(rels[len(u.Modes):])
	var errs []error
	forbidden := map[string]Failure{}
	public := false // one kernel at least
	look := Look{Failed: map[string]Failure{}}
	u.looked.ask(u.Now())
	defer u.looked.end()
	for _, rel := range slices.Compact(rels) {
		result, err := u.syncOne(ctx, rel, all[rel], o)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case provisioning.ErrorCode(err) == provisioning.NotFound: // the service has none
			look.Answered = true
		case errors.Is(err, errForbidden) && all[rel].Name == "": // perhaps it has none
			forbidden[rel] = Failure{Err: err}
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", rel, err))
			look.Failed[rel] = Failure{Err: err}
			look.Answered = look.Answered || Refused(err)
		default:
			look.Answered, public = true, true
			if o.Tell != nil {
				o.Tell(result)
			}
		}
	}
	if !public {
		for _, rel := range slices.Sorted(maps.Keys(forbidden)) {
			errs = append(errs, fmt.Errorf("%s: %w", rel, forbidden[rel].Err))
		}
		maps.Copy(look.Failed, forbidden)
	}
	u.note(look)
	return errors.Join(errs...)
}

// syncOne takes one kernel anew.
func (u *Upstream) syncOne(ctx context.Context, rel string, last taken, o SyncOptions) (Result, error) {
	known := last.Validator
	here, err := u.Store.SHA256(last.Name)
	if err != nil || here != last.SHA256 || last.Upstream != u.base.String() {
		known = Validator{}
	}
	mode, isDefault := kernel.ModeOf(rel)
	current, missing := u.Store.SHA256(rel) // of what it is here now
	_, takenBefore := u.readTaken()[rel]
	// Who gave the run mode another kernel meant it, and so did who replaced a kernel.
	own := takenBefore && missing == nil && current != last.SHA256
	if own && !isDefault {
		return Result{Kernel: rel, Name: rel, SHA256: current}, nil
	}
	point := !own || o.Insist
	back := isDefault && point && (missing != nil || current != last.SHA256) // to what was taken before
	leaves := ""
	if back && missing == nil {
		leaves = cmp.Or(u.Store.FileOf(rel), rel)
	}
	if o.DryRun {
		result, err := u.wouldTake(ctx, rel, known, last)
		result.Pointed, result.Leaves = err == nil && !result.Changed && back, leaves
		return result, err
	}
	d, err := u.begin(ctx, rel, func(ctx context.Context, d *Download) (Result, error) {
		return u.take(ctx, rel, known, d, point)
	})
	if err != nil {
		return Result{}, err
	}
	if o.Progress != nil {
		stop := u.follow(ctx, rel, d, o.Progress)
		defer stop()
	}
	result, err := d.Result(ctx)
	if !errors.Is(err, ErrUnchanged) {
		if result.Pointed && result.SHA256 != current {
			result.Leaves = leaves
		}
		// Once of each: a server that tells no versions has the same one taken again.
		if err == nil && isDefault && !result.Pointed && result.SHA256 != last.SHA256 {
			u.Log.Warn("the run mode does not boot upstream's new kernel, because somebody gave it another one", "runmode", mode, "kernel", result.Name,
				"mend", fmt.Sprintf("farmboot kernel use %s %s", mode, result.Name))
		}
		return result, err
	}
	result = Result{Kernel: rel, Name: last.Name, SHA256: last.SHA256}
	if back {
		result.Pointed, result.Leaves = true, leaves
		return result, u.Editor.Point(ctx, u.by(), mode, last.Name, false)
	}
	return result, nil
}

// wouldTake tells what would be taken, and takes nothing.
func (u *Upstream) wouldTake(ctx context.Context, rel string, known Validator, last taken) (Result, error) {
	f, err := u.Client.Get(ctx, u.original(rel), known)
	if errors.Is(err, ErrUnchanged) {
		return Result{Kernel: rel, Name: last.Name, SHA256: last.SHA256}, nil
	}
	if err != nil {
		return Result{}, err
	}
	head, err := io.ReadAll(io.LimitReader(f, headSize))
	err = cmp.Or(err, u.room(rel, f.Size), checkHead(rel, bytes.NewReader(head), f.Size))
	return Result{Kernel: rel, Name: f.Name, Size: f.Size, Changed: true}, errors.Join(err, f.Close())
}

// progressEvery is how often somebody is told how far a kernel has come.
const progressEvery = 200 * time.Millisecond

// follow tells how far a download has come until it is stopped.
func (u *Upstream) follow(ctx context.Context, rel string, d *Download, tell func(rel string, got, size int64)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pause.For(ctx, progressEvery) == nil {
			got, size := d.Progress()
			tell(rel, got, size)
		}
	}()
	return func() { cancel(); <-done }
}

// againAfter is how long Run pauses after a look that got nothing and may get something the next
// time: an appliance may start before the router that leads to upstream.
const againAfter = time.Minute

// Run syncs at once and then every so often, until ctx ends. names are the kernels, but
// for those of run modes, that nodes boot.
func (u *Upstream) Run(ctx context.Context, every time.Duration, names func(context.Context) ([]string, error)) error {
	looking := logonce.Series{Log: u.Log.With("upstream", u.base.Redacted()), Level: slog.LevelWarn, Fault: "not everything could be taken from upstream: what was here stays", End: "all can be taken from upstream again"}
	for {
		list, err := names(ctx)
		soon := err != nil // the database may answer the next time
		if err == nil {
			err = u.Sync(ctx, SyncOptions{Names: list})
			soon = u.LastLook().soon()
		}
		if ctx.Err() != nil {
			return nil
		}
		looking.Report(err)
		next := every
		if soon {
			next = min(every, againAfter)
		}
		if pause.For(ctx, next) != nil {
			return nil
		}
	}
}
