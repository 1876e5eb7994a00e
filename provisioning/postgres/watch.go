package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"farmboot/provisioning/pause"
)

// listenAgain is how long Watch waits before it connects anew.
const listenAgain = time.Second

// Watch implements [provisioning.Store], by LISTEN. Our own changes are told too.
func (s *Store) Watch(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	go func() {
		defer close(changed)
		for ctx.Err() == nil {
			_ = s.listen(ctx, changed)      // its end is told by every other query too, louder
			_ = pause.For(ctx, listenAgain) // the loop looks at ctx
		}
	}()
	return changed
}

// listen hands on notifications as long as the connection lasts. It begins with one
// of its own: something may have changed while nobody listened.
func (s *Store) listen(ctx context.Context, changed chan<- struct{}) error {
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `LISTEN `+channel); err != nil {
		return err
	}
	for {
		select {
		case changed <- struct{}{}:
		default: // one is waiting there
		}
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}
