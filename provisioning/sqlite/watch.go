package sqlite

import (
	"context"
	"time"
)

// watchEvery is how often Watch looks. One look takes some microseconds, and half
// a second is at once to somebody at a web page.
const watchEvery = 250 * time.Millisecond

// Watch implements [provisioning.Store]. SQLite tells no other process of a change,
// but keeps a number that changes with each: PRAGMA data_version, compared on one
// and the same connection.
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
		last := int64(-1)
		for {
			var version int64
			if err := db.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&version); err == nil && version != last {
				if last >= 0 {
					notify(changed)
				}
				last = version
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
