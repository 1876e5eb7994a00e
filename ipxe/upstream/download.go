package upstream

import (
	"context"
	"io"
	"os"
	"sync"
)

// Download is a kernel that is being stored, for all who ask for it meanwhile. It goes on
// at the upstream's speed whoever reads it, and each reader at the slower of the two.
type Download struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	file    *os.File      // what is there so far, for readers
	readers int           // and one for the download itself
	size    int64         // of the whole; -1: not known before the end
	got     int64         // bytes that are there and may be read
	name    string        // as upstream calls the file; "": it does not say
	started bool          // it begins as a kernel does
	done    bool
	err     error
	result  Result
}

func newDownload() *Download {
	return &Download{changed: make(chan struct{}), readers: 1, size: -1}
}

// update changes something and tells all who wait.
func (d *Download) update(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	close(d.changed)
	d.changed = make(chan struct{})
}

// wait waits until holds does, which is called with the lock held.
func (d *Download) wait(ctx context.Context, holds func() bool) error {
	for {
		d.mu.Lock()
		ok, changed := holds(), d.changed
		d.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Result waits for the end, and tells what was stored.
func (d *Download) Result(ctx context.Context) (Result, error) {
	if err := d.wait(ctx, func() bool { return d.done }); err != nil {
		return Result{}, err
	}
	return d.result, d.err
}

// Progress tells how much of how much is there; the size is -1 as long as it is not known.
func (d *Download) Progress() (got, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got, d.size
}

// Name is what upstream calls the file; "" where it does not say, or Open has not returned.
func (d *Download) Name() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.name
}

// held is how many bytes at the end no reader gets before the whole was checked: what
// turns out to be cut short, changed or wrongly signed is never whole anywhere.
const held = 64 << 10

// Open returns a reader once it is certain that a kernel comes, and the kernel's size, -1
// if that is not known. The reader ends with an error if the whole is refused in the end.
// Close it.
func (d *Download) Open(ctx context.Context) (io.ReadCloser, int64, error) {
	if err := d.wait(ctx, func() bool { return d.started || d.done }); err != nil {
		return nil, 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return nil, 0, d.err
	}
	if d.file == nil { // its readers have gone, and what was stored is stored
		return nil, 0, os.ErrClosed
	}
	d.readers++
	return &reader{d: d, ctx: ctx}, d.size, nil
}

// leave closes the file when the last one goes.
func (d *Download) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.readers--; d.readers == 0 && d.file != nil {
		_ = d.file.Close() // it was only read
		d.file = nil
	}
}

type reader struct {
	d   *Download
	ctx context.Context
	off int64
}

// Read waits for more than was read so far.
func (r *reader) Read(p []byte) (int, error) {
	var there int64
	var end error
	err := r.d.wait(r.ctx, func() bool {
		there, end = r.d.got-held, nil
		if r.d.done {
			there, end = r.d.got, io.EOF
			if r.d.err != nil {
				there, end = 0, r.d.err
			}
		}
		return there > r.off || end != nil
	})
	switch {
	case err != nil:
		return 0, err
	case there <= r.off:
		return 0, end
	}
	n, err := r.d.file.ReadAt(p[:min(int64(len(p)), there-r.off)], r.off)
	r.off += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (r *reader) Close() error {
	r.d.leave()
	return nil
}
