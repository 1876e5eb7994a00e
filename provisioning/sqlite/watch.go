package sqlite

import (
	"context"
	"time"
)

// watchEvery is how often Watch looks: a quarter of a second is at once to somebody at a
// web page.
const watchEvery = 250 * time.Millisecond

// Watch implements [provisioning.Store]. SQLite tells no other process of a change,
// but keeps a number that changes with each: PRAGMA data_version, compared on one
// and the same connection. It is asked only after a commit, ours or another process's,
// which the index of the write-ahead log shows in nanoseconds.
func (s *Store) Watch(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	go func() {
		defer close(changed)
		db, err := pool(s.file, readSettings, 1)
		if err != nil {
			return // settings that opened the store open it again
		}
		defer db.Close()
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		index, _ := openIndex(s.file + "-shm") // without it, every look is a query
		if index != nil {
			defer index.close()
		}
		var seen header
		last := int64(-1)
		for {
			var now header
			if index != nil {
				now = header(index.mapped)
			}
			if index == nil || now != seen {
				var version int64
				if err := db.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&version); err == nil {
					if last >= 0 && version != last {
						notify(changed)
					}
					last, seen = version, now
				}
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return changed
}

// notify puts a value into the channel unless one is waiting there.
func notify(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}
