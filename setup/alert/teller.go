package alert

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"farmboot/provisioning/pause"
)

// Source says what is wrong now.
type Source func(context.Context) []Condition

// Teller asks its sources again and again, and sends what they have to say.
type Teller struct {
	Appliance func() string // its URL
	Log       *slog.Logger
	Now       func() time.Time

	mu      sync.Mutex
	senders []sender
	sources []Source
	digest  Digest
}

// To sets where messages go: URLs that [Check] takes, none for nowhere. The error names
// the first one that is wrong, by its place; then nothing changes.
func (t *Teller) To(urls []string) error {
	var senders []sender
	for _, u := range urls {
		s, err := newSender(u)
		if err != nil {
			return err
		}
		senders = append(senders, s)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.senders = senders
	return nil
}

// Watch adds a source, before Run.
func (t *Teller) Watch(s Source) { t.sources = append(t.sources, s) }

// Note tells that something happened.
func (t *Teller) Note(n Notice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.senders) > 0 { // else there is nobody to be told
		t.digest.Note(n)
	}
}

const (
	// askEvery is how often sources are asked.
	askEvery = 15 * time.Second
	// tries is how often a message is sent to a place that does not take it, with
	// longer and longer waits in between: half an hour in all.
	tries = 8
)

// Run tells until ctx ends, and returns nil.
func (t *Teller) Run(ctx context.Context) error {
	var sending sync.WaitGroup
	defer sending.Wait()
	for pause.For(ctx, askEvery) == nil {
		m, senders, due := t.due(ctx)
		if !due {
			continue
		}
		for _, send := range senders {
			sending.Go(func() { t.deliver(ctx, send, m) })
		}
	}
	return nil
}

// due asks the sources, and returns the message that is due and where it goes.
func (t *Teller) due(ctx context.Context) (Message, []sender, bool) {
	t.mu.Lock()
	senders := t.senders
	t.mu.Unlock()
	var wrong []Condition
	if len(senders) > 0 { // else nobody asks
		for _, s := range t.sources {
			wrong = append(wrong, s(ctx)...)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	m, due := t.digest.Next(t.Now(), wrong)
	m.Appliance = t.Appliance()
	return m, senders, due
}

// deliver sends a message to one place, and again if that fails.
func (t *Teller) deliver(ctx context.Context, send sender, m Message) {
	wait := askEvery
	for range tries {
		err := send(ctx, m)
		if err == nil {
			return
		}
		t.Log.Warn("an alert could not be sent", "title", m.Title(), "err", err)
		if pause.For(ctx, wait) != nil {
			return
		}
		wait *= 2
	}
}

// Test sends a test message to every place now, and returns what went wrong.
func (t *Teller) Test(ctx context.Context) error {
	m := Message{Kind: KindTest, Appliance: t.Appliance(), At: t.Now()}
	var errs []error
	for _, send := range t.senders {
		errs = append(errs, send(ctx, m))
	}
	return errors.Join(errs...)
}
