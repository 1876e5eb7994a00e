package recorder

import (
	"context"
	"iter"
	"log/slog"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/cause"
	"farmboot/provisioning/logonce"
)

// Recorder is where a step of a boot is told, once: listeners hand it their events. It
// writes a line of the log for each, and stores them in batches, on its own time: a
// boot never waits for a disk. It also
//   - finds out whose events are that show only an IP address,
//   - holds back what is said again and again, and what strangers make up,
//   - keeps the list of MAC addresses seen,
//   - hands events, also those that other processes stored, to subscribers,
//   - forgets what is old.
type Recorder struct {
	store     provisioning.Store
	log       *slog.Logger
	now       func() time.Time
	retention Retention
	syncWait  time.Duration

	inbox       *inbox
	peers       *peers
	refusals    *refusals
	lines       *lines
	sights      *sights     // owned by Run
	open        *boots.Open // owned by Run
	subscribers subscribers
	heard       func(provisioning.Event) // is told of each event that is recorded here
	asked       chan chan<- struct{}     // closed when all that was recorded is stored
	ended       chan struct{}            // closed at the end of Run

	stored  prometheus.Counter
	dropped *prometheus.CounterVec // by reason
	storing logonce.Series         // owned by Run
	last    int64                  // ID of the last event handed to subscribers; owned by Run
	grown   int                    // events stored since old ones were last looked for; owned by Run
}

const (
	// recorderBatch is how many events one transaction stores: of many, each page of the
	// database is written once.
	recorderBatch = 2048
	// batchDelay is how long an event waits for others to share a transaction with, and
	// so how far the command line, which is another process, is behind. The end of the
	// process without warning loses as much, and nothing that was acknowledged.
	batchDelay = time.Second
	// When batchFull events wait, the first waits no longer. A farm that powers on says most
	// of what it has to say in a part of a second: to store it then would take the processor
	// from what answers it.
	batchFull = inboxSize * 3 / 4
	// watchedDelay and watchedBatch are the same while somebody watches: so far he is
	// behind, and so many events he is handed at once.
	watchedDelay = 50 * time.Millisecond
	watchedBatch = 512
	// openBoots is how many boots under way are remembered, of some 700 bytes each: of
	// the nodes of a farm that boot at once.
	openBoots = 4096
	// writeTimeout bounds a write. It is not cut short by the end of Run, which
	// would lose what is in hand.
	writeTimeout = 10 * time.Second
)

// NewRecorder returns a Recorder; [Recorder.Run] makes it work. It registers its
// counters with metrics.
func New(store provisioning.Store, retention Retention, log *slog.Logger, metrics prometheus.Registerer, now func() time.Time) *Recorder {
	r := &Recorder{
		store: store, log: log, now: now, retention: retention.orDefault(), syncWait: syncWait,
		storing:  logonce.Series{Log: log, Level: slog.LevelError, Fault: "boot events cannot be stored; nodes boot on", End: "boot events are stored again"},
		inbox:    newInbox(),
		peers:    newPeers(),
		refusals: newRefusals(),
		lines:    newLines(),
		sights:   newSights(),
		open:     boots.NewOpen(openBoots),
		heard:    func(provisioning.Event) {},
		asked:    make(chan chan<- struct{}),
		ended:    make(chan struct{}),
		stored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "farmboot_events_stored_total", Help: "Boot events stored.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "farmboot_events_dropped_total", Help: "Boot events not stored, by reason: queue (too many at once), repeat (the same refusal again), flood (too many refusals), store (it could not be written).",
		}, []string{"reason"}),
	}
	for _, reason := range []string{"queue", "repeat", "flood", "store"} {
		r.dropped.WithLabelValues(reason)
	}
	queued := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farmboot_events_queued", Help: "Boot events that wait to be stored.",
	}, func() float64 { return float64(r.inbox.len()) })
	room := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "farmboot_events_queue_size", Help: "Boot events that can wait to be stored; more are dropped.",
	})
	room.Set(inboxSize)
	watching := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farmboot_event_subscribers", Help: "Who follows boot events live. As long as it is nobody, they are stored once a second.",
	}, func() float64 { return float64(r.subscribers.count()) })
	metrics.MustRegister(r.stored, r.dropped, queued, room, watching)
	return r
}

// Hear has fn told of each event that is recorded here, at once and whether or not it can
// be stored; what other processes store it is not told of. It must take no longer than a
// map look-up, and is set before anything is recorded. Somebody who watches all the time
// hears so: a subscriber has every event stored soon, and read again.
func (r *Recorder) Hear(fn func(provisioning.Event)) { r.heard = fn }

// Record is a [Record].
func (r *Recorder) Record(e provisioning.Event) {
	if e.At.IsZero() {
		e.At = r.now()
	}
	e.Peer = e.Peer.Unmap()
	for _, text := range []*string{
		&e.Detail, &e.File, &e.Version, &e.SHA256, &e.Machine.Arch, &e.Machine.Firmware, &e.Machine.UUID,
		&e.Machine.Serial, &e.Machine.Manufacturer, &e.Machine.Product,
		&e.Cause.Kernel, &e.Cause.File, &e.Cause.Arch, &e.Cause.Server, &e.Cause.Note,
	} {
		*text = oneLine(*text)
	}
	if e.MAC.IsZero() {
		e.MAC, _ = r.peers.mac(e.Peer, e.At)
	}
	if dropped := r.refusals.pass(&e); dropped != "" {
		r.dropped.WithLabelValues(dropped).Inc()
		return
	}
	r.tell(&e)
	r.heard(e)
	if e.MAC.IsZero() {
		r.peers.orphan(e.Peer, e.At)
	}
	r.countUnless(r.inbox.event(&e))
	r.Learn(e.Peer, e.MAC)
}

// tell writes an event to the log: a line for each step, what is refused louder, and
// what says little by itself only for those who want to know everything.
func (r *Recorder) tell(e *provisioning.Event) {
	level := slog.LevelInfo
	switch e.Stage {
	case provisioning.StageDiscover, provisioning.StageLoading:
		level = slog.LevelDebug
	case provisioning.StageRefused, provisioning.StageFailed:
		level = slog.LevelWarn
	}
	if !r.log.Enabled(context.Background(), level) {
		return
	}
	left, ok := r.lines.pass(e.At)
	if !ok {
		return
	}
	if left > 0 {
		r.log.Warn("too much at once: some steps are not in the log", "lines", left)
	}
	line := slog.NewRecord(time.Now(), level, "boot", 0) // without its caller, whom Log looks up for each
	line.AddAttrs(slog.String("stage", string(e.Stage)))
	if !e.MAC.IsZero() {
		line.AddAttrs(slog.String("mac", e.MAC.String()))
	}
	if e.Peer.IsValid() {
		line.AddAttrs(slog.String("peer", e.Peer.String()))
	}
	if !e.Cause.IsZero() {
		line.AddAttrs(slog.String("cause", string(e.Cause.ID)))
	}
	if detail := cause.Detail(*e); detail != "" {
		line.AddAttrs(slog.String("detail", detail))
	}
	if e.Size > 0 {
		line.AddAttrs(slog.Int64("bytes", e.Bytes), slog.Int64("size", e.Size), slog.Duration("dur", e.Duration))
	}
	_ = r.log.Handler().Handle(context.Background(), line) // as slog.Logger ignores it
}

// maxDetail is how long a text of an event may be, in bytes. Clients have their say
// in it: file names, vendor classes.
const maxDetail = 500

// oneLine makes a text fit for terminals, logs and databases, whatever it is.
func oneLine(s string) string {
	if len(s) <= maxDetail && isPrintableASCII(s) {
		return s
	}
	clean := func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}
	return strings.Map(clean, provisioning.Clip(strings.ToValidUTF8(s, "?"), maxDetail))
}

// isPrintableASCII tells whether there is nothing to clean, as there hardly ever is.
func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Learn notes that addr is the address of mac: a later event that shows only addr,
// and earlier ones of the last minutes, are mac's. It never blocks.
func (r *Recorder) Learn(addr netip.Addr, mac provisioning.MAC) {
	if since := r.peers.learn(addr, mac, r.now()); !since.IsZero() {
		r.countUnless(r.inbox.learned(boots.Learned(addr.Unmap(), mac, since)))
	}
}

// MAC returns whose address addr is, as far as events of the last half hour tell.
func (r *Recorder) MAC(addr netip.Addr) (provisioning.MAC, bool) { return r.peers.mac(addr, r.now()) }

// countUnless counts what the inbox had no room for.
func (r *Recorder) countUnless(taken bool) {
	if !taken {
		r.dropped.WithLabelValues("queue").Inc()
	}
}

// Subscribe returns the events of mac, of every node if it is zero, from now on,
// with their IDs, in order. The channel is closed at the end of Run, by cancel, and
// after an event [provisioning.StageDropped] when its reader is too slow. Cancel must be called.
func (r *Recorder) Subscribe(mac provisioning.MAC) (events <-chan provisioning.Event, cancel func()) {
	sub := r.subscribers.add(mac)
	return sub.events, func() { r.subscribers.remove(sub) }
}

// Run stores events until ctx ends, then those that are still queued, and returns
// nil. Call [Recorder.Flush] when the listeners, too, have come to their end.
func (r *Recorder) Run(ctx context.Context) error {
	inBackground()
	watching, stopWatching := context.WithCancel(ctx)
	changes := r.store.Watch(watching)
	defer func() {
		close(r.ended)
		stopWatching()
		for range changes { // wait for its end
		}
		r.subscribers.closeAll()
	}()
	foreign := changes
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()

	r.recall(ctx)
	r.last, _ = r.store.LastEventID(ctx) // a store that fails now fails louder soon
	soon := make(chan struct{}, 1)       // holds a value while there is more to forget
	forget := func() {
		if r.prune(ctx) {
			select {
			case soon <- struct{}{}:
			default:
			}
		}
	}
	forget()
	for {
		select {
		case <-r.inbox.await(1):
			if r.inbox.len() == 0 { // it rang for what has been stored since
				continue
			}
			most, asked := r.collect(ctx)
			r.storeFor(ctx, most, asked)
			// Whoever forges MAC addresses would fill the disk before pruneEvery.
			if r.grown > r.retention.Unknown/2 {
				r.grown = 0
				forget()
			}
		case asked := <-r.asked:
			r.storeFor(ctx, recorderBatch, asked)
		case <-soon:
			forget()
		case _, ok := <-foreign:
			if !ok {
				foreign = nil
				continue
			}
			r.publishStored(ctx)
		case <-prune.C:
			forget()
		case <-ctx.Done():
			_ = r.storeWaiting(ctx, recorderBatch) // what fails is logged, and tried again by Flush
			return nil
		}
	}
}

// storeFor stores what waits, and tells whoever asked for that; nil: nobody did.
func (r *Recorder) storeFor(ctx context.Context, most int, asked chan<- struct{}) {
	err := r.storeWaiting(ctx, most)
	if asked != nil {
		close(asked)
	}
	if err != nil {
		r.rest(ctx)
	}
}

// rest waits a moment after a failure, for each attempt costs what was to be stored. Readers
// are told what is there meanwhile.
func (r *Recorder) rest(ctx context.Context) {
	over := time.NewTimer(batchDelay)
	defer over.Stop()
	for {
		select {
		case asked := <-r.asked:
			close(asked)
		case <-over.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// recalled is how many events are read at the start to learn addresses from: those of
// some hundred boots.
const recalled = 5000

// recall learns again whose address is whose, so that a node that boots while we start
// anew is known by its address.
func (r *Recorder) recall(ctx context.Context) {
	events, err := r.store.Events(ctx, provisioning.EventQuery{Limit: recalled, Last: true})
	if err != nil {
		return // it is told of by the first write
	}
	for _, e := range events {
		r.peers.learn(e.Peer, e.MAC, e.At)
	}
}

// collect waits until there is enough to store at once, but not for long, nor when somebody
// asks for what there is: he is to be told when it is stored. It returns how many of what
// waits now go into one transaction.
func (r *Recorder) collect(ctx context.Context) (most int, asked chan<- struct{}) {
	delay, full, most := batchDelay, batchFull, recorderBatch
	if r.subscribers.count() > 0 {
		delay, full, most = watchedDelay, watchedBatch, watchedBatch
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for r.inbox.len() < full {
		select {
		case <-r.inbox.await(full):
		case asked = <-r.asked:
			return most, asked
		case <-timer.C:
			return most, nil
		case <-ctx.Done():
			return most, nil
		}
	}
	return most, nil
}

// syncWait bounds how long a reader waits for what has just happened to be stored.
const syncWait = time.Second

// Sync returns when what has been recorded is stored, as far as that takes no longer than
// a moment: while the database is locked, readers are told what is there.
func (r *Recorder) Sync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.syncWait)
	defer cancel()
	stored := make(chan struct{})
	select {
	case r.asked <- stored:
	case <-r.ended:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-stored:
	case <-r.ended:
	case <-ctx.Done():
	}
}

// fresh is a store that is up to date when it is asked for events.
type fresh struct {
	provisioning.Store
	sync func(context.Context)
}

// Fresh returns the recorder's store, for readers in the same process: what it tells of
// boots includes what has just been recorded.
func (r *Recorder) Fresh() provisioning.Store { return fresh{r.store, r.Sync} }

// Events implements [provisioning.Reader].
func (f fresh) Events(ctx context.Context, q provisioning.EventQuery) ([]provisioning.Event, error) {
	f.sync(ctx)
	return f.Store.Events(ctx, q)
}

// Seen implements [provisioning.Reader].
func (f fresh) Seen(ctx context.Context, mac provisioning.MAC) (provisioning.Discovered, error) {
	f.sync(ctx)
	return f.Store.Seen(ctx, mac)
}

// SeenByCode implements [provisioning.Reader].
func (f fresh) SeenByCode(ctx context.Context, code string) (provisioning.Discovered, error) {
	f.sync(ctx)
	return f.Store.SeenByCode(ctx, code)
}

// Unregistered implements [provisioning.Reader].
func (f fresh) Unregistered(ctx context.Context, limit int) ([]provisioning.Discovered, error) {
	f.sync(ctx)
	return f.Store.Unregistered(ctx, limit)
}

// Update implements [provisioning.Store]: a transaction finds what has been recorded before it.
func (f fresh) Update(ctx context.Context, fn func(provisioning.Tx) error) error {
	f.sync(ctx)
	return f.Store.Update(ctx, fn)
}

// Flush stores what waits, for the last time: when Run has ended, listeners may have recorded
// something since. What cannot be stored is lost.
func (r *Recorder) Flush(ctx context.Context) {
	if r.storeWaiting(ctx, recorderBatch) == nil {
		return
	}
	if lost := newsCount(r.inbox.take(inboxSize)); lost > 0 {
		r.dropped.WithLabelValues("store").Add(float64(lost))
		r.log.Error("boot events are lost: they could not be stored before the end", "events", lost)
	}
}

// storeWaiting stores what waits now, at most so many events in one transaction. When one
// cannot be stored, the others go on waiting.
func (r *Recorder) storeWaiting(ctx context.Context, most int) error {
	for left := r.inbox.len(); left > 0; {
		batch := r.inbox.take(most)
		left -= newsCount(batch)
		if err := r.write(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// write stores a batch, and hands it to the subscribers, with what another process stored
// before. When it cannot be stored, they get it all the same, without IDs.
func (r *Recorder) write(ctx context.Context, batch [][]boots.News) error {
	defer r.inbox.giveBack(batch)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	seen := r.sights.news(batch)
	var changes boots.Changes
	err := r.store.UpdateUnsynced(ctx, func(tx provisioning.Tx) error {
		if err := r.open.Number(ctx, tx, batch...); err != nil {
			return err
		}
		changes = r.open.Add(batch...)
		if err := tx.WriteBoots(ctx, changes.BootChanges); err != nil {
			return err
		}
		_, err := provisioning.See(ctx, tx, seen...)
		return err
	})
	r.storing.Report(err)
	events, first := 0, int64(0)
	for n := range eventsIn(batch) {
		if events++; events == 1 {
			first = n.ID
		}
	}
	if err != nil {
		r.open.Forget(changes)
		r.sights.forget(seen)
		r.dropped.WithLabelValues("store").Add(float64(events))
		for n := range eventsIn(batch) {
			n.ID = 0
		}
		r.publish(batch)
		return err
	}
	r.open.Keep(changes)
	r.stored.Add(float64(events))
	r.grown += events
	switch {
	case events == 0:
	case first != r.last+1:
		r.publishStored(ctx)
	default:
		r.last += int64(events)
		r.publish(batch)
	}
	return nil
}

// eventsIn are the events of a batch.
func eventsIn(batch [][]boots.News) iter.Seq[*boots.News] {
	return func(yield func(*boots.News) bool) {
		for n := range boots.All(batch...) {
			if n.IsEvent() && !yield(n) {
				return
			}
		}
	}
}

// publish hands the events of a batch to the subscribers, as they are stored.
func (r *Recorder) publish(batch [][]boots.News) {
	if r.subscribers.count() == 0 {
		return
	}
	for n := range eventsIn(batch) {
		r.subscribers.publish(n.Event())
	}
}

// publishStored hands to the subscribers what has been stored since the last time,
// by us or by another process.
func (r *Recorder) publishStored(ctx context.Context) {
	if r.subscribers.count() == 0 {
		if id, err := r.store.LastEventID(ctx); err == nil {
			r.last = max(r.last, id)
		}
		return
	}
	for {
		events, err := r.store.Events(ctx, provisioning.EventQuery{After: r.last, Limit: watchedBatch})
		if err != nil {
			return // the next event tries again
		}
		for _, e := range events {
			r.last = e.ID
			r.subscribers.publish(e)
		}
		if len(events) < watchedBatch {
			return
		}
	}
}
