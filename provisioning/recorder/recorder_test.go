package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/recorder"
	"farmboot/provisioning/storetest"
)

// waitLimit is how long a test waits for what happens at once.
const waitLimit = 30 * time.Second

var (
	peer7 = netip.MustParseAddr("10.0.0.7")
	peer8 = netip.MustParseAddr("10.0.0.8")
)

// clock is a time that tests turn.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// running is a Recorder at work.
type running struct {
	*recorder.Recorder
	metrics *prometheus.Registry
	stop    func() // and wait for its end
}

func run(t *testing.T, s provisioning.Store, now func() time.Time) *running {
	t.Helper()
	metrics := prometheus.NewRegistry()
	r := recorder.New(s, recorder.Retention{}, slog.New(slog.DiscardHandler), metrics, now)
	r.SetSyncWait(waitLimit)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(waitLimit):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return &running{r, metrics, stop}
}

// stored returns the events in the store, without what tests do not foresee.
func stored(t *testing.T, s provisioning.Store) []provisioning.Event {
	t.Helper()
	events, err := s.Events(t.Context(), provisioning.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		events[i].ID = 0
	}
	return events
}

func wantEvents(t *testing.T, got []provisioning.Event, want ...provisioning.Event) {
	t.Helper()
	opts := cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreFields(provisioning.Event{}, "Machine")}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// receive waits for the next event of a subscription.
func receive(t *testing.T, events <-chan provisioning.Event) provisioning.Event {
	t.Helper()
	select {
	case e, open := <-events:
		if !open {
			t.Fatal("the subscription has ended")
		}
		return e
	case <-time.After(waitLimit):
		t.Fatal("no event")
	}
	panic("unreachable")
}

func TestRecorderStoresWhatItHasAtTheEnd(t *testing.T) {
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	r := run(t, s, c.now)
	var want []provisioning.Event
	for i := range 2000 {
		e := provisioning.Event{At: storetest.Noon.Add(time.Duration(i) * time.Second), MAC: storetest.MAC(i), Stage: provisioning.StageOffer}
		want = append(want, e)
		r.Record(e)
	}
	r.stop()
	wantEvents(t, stored(t, s), want...)
	late := provisioning.Event{At: storetest.Noon.Add(time.Hour), MAC: storetest.MAC(1), Stage: provisioning.StageKernel}
	r.Record(late)
	r.Flush(t.Context())
	wantEvents(t, stored(t, s), append(want, late)...)
	if got := count(t, r, "farmboot_events_stored_total", ""); got != 2001 {
		t.Errorf("%v events counted as stored, want 2001", got)
	}
}

// count returns the value of a counter.
func count(t *testing.T, r *running, name, reason string) float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (reason == "" || m.GetLabel()[0].GetValue() == reason) {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no counter %s %s", name, reason)
	return 0
}

func TestRecorderMetricsAreWellFormed(t *testing.T) {
	r := run(t, storetest.SQLite(t), time.Now)
	problems, err := testutil.GatherAndLint(r.metrics)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

func TestRecorderNeverBlocks(t *testing.T) {
	metrics := prometheus.NewRegistry()
	r := &running{recorder.New(storetest.SQLite(t), recorder.Retention{}, slog.New(slog.DiscardHandler), metrics, time.Now), metrics, nil}
	const room, more = 32768, 1000
	for range room + more { // nobody runs it
		r.Record(provisioning.Event{MAC: storetest.MAC(1), Stage: provisioning.StageOffer})
	}
	if got := count(t, r, "farmboot_events_dropped_total", "queue"); got != more {
		t.Errorf("%v events counted as dropped, want %d", got, more)
	}
}

// TestWhatWaitsIsBounded: strangers say what they like of themselves, and fill no memory by it.
func TestWhatWaitsIsBounded(t *testing.T) {
	metrics := prometheus.NewRegistry()
	r := &running{recorder.New(storetest.SQLite(t), recorder.Retention{}, slog.New(slog.DiscardHandler), metrics, time.Now), metrics, nil}
	text := strings.Repeat("x", 500)
	const recorded = 10_000
	for i := range recorded {
		r.Record(provisioning.Event{MAC: storetest.MAC(i), Stage: provisioning.StageScript, Machine: provisioning.Machine{UUID: text, Serial: text, Product: text}})
	}
	if kept := recorded - count(t, r, "farmboot_events_dropped_total", "queue"); kept*1500 > 9<<20 || kept*1500 < 7<<20 {
		t.Errorf("%v events of 1,500 bytes wait", kept)
	}
}

func TestRecorderFindsOutWhoseEventsAre(t *testing.T) {
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	r := run(t, s, c.now)
	mac := storetest.MAC(1)
	nbp := provisioning.Event{At: c.t, Peer: peer7, Stage: provisioning.StageNBP, Detail: "undionly.kpxe"}
	script := provisioning.Event{At: c.t, MAC: mac, Peer: peer7, Stage: provisioning.StageScript}
	kernel := provisioning.Event{At: c.t, Peer: netip.AddrFrom16(peer7.As16()), Stage: provisioning.StageKernel}
	other := provisioning.Event{At: c.t, Peer: peer8, Stage: provisioning.StageKernel}
	relayed := provisioning.Event{At: c.t, MAC: storetest.MAC(2), Stage: provisioning.StageDiscover} // by an agent, whose address it is not
	for _, e := range []provisioning.Event{nbp, script, kernel, relayed, other} {
		r.Record(e)
	}
	if got, ok := r.MAC(peer7); !ok || got != mac {
		t.Errorf("%v is %v's, %v, want %v's", peer7, got, ok, mac)
	}
	if got, ok := r.MAC(peer8); ok {
		t.Errorf("%v is taken for %v's", peer8, got)
	}
	r.Learn(peer8, storetest.MAC(3))
	r.Learn(netip.IPv4Unspecified(), mac)
	if got, ok := r.MAC(netip.IPv4Unspecified()); ok {
		t.Errorf("0.0.0.0 is taken for %v's", got)
	}
	c.t = c.t.Add(31 * time.Minute)
	if got, ok := r.MAC(peer7); ok {
		t.Errorf("after half an hour %v is still taken for %v's", peer7, got)
	}
	r.stop()
	nbp.MAC, kernel.MAC, kernel.Peer, other.MAC = mac, mac, peer7, storetest.MAC(3)
	wantEvents(t, stored(t, s), nbp, script, kernel, relayed, other)
}

func TestRecorderKeepsWhoWasSeen(t *testing.T) {
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	r := run(t, s, c.now)
	firmware := provisioning.Machine{Arch: "UEFI x64", Firmware: "PXEClient", UUID: "u"}
	discover := func(after time.Duration, m provisioning.Machine) {
		r.Record(provisioning.Event{At: storetest.Noon.Add(after), MAC: storetest.MAC(1), Stage: provisioning.StageDiscover, Machine: m})
	}
	discover(0, firmware)
	discover(4*time.Second, firmware)                 // firmware repeats it
	discover(60*time.Second, provisioning.Machine{})  // iPXE, loaded from a slow server
	discover(120*time.Second, provisioning.Machine{}) // and again
	discover(10*time.Minute, firmware)                // another boot
	r.Record(provisioning.Event{At: storetest.Noon, Stage: provisioning.StageDiscover, Machine: firmware})
	r.stop()
	list, err := s.Unregistered(t.Context(), 0)
	want := []provisioning.Discovered{{
		MAC: storetest.MAC(1), Machine: firmware, FirstSeen: storetest.Noon, LastSeen: storetest.Noon.Add(10 * time.Minute), Boots: 2,
	}}
	if diff := cmp.Diff(want, list, cmpopts.IgnoreFields(provisioning.Discovered{}, "Code")); diff != "" || err != nil {
		t.Errorf("seen, %v (-want +got):\n%s", err, diff)
	}
	if len(list) == 1 && len(list[0].Code) != 6 {
		t.Errorf("claim code %q, want six characters", list[0].Code)
	}
}

// TestRecorderSeesImagesThatAskForTheirScript: a machine that boots from a stick is
// never seen by DHCP, but it asks what its MAC address boots.
func TestRecorderSeesImagesThatAskForTheirScript(t *testing.T) {
	for stage, want := range map[provisioning.Stage]bool{
		provisioning.StageScript: true, provisioning.StageHold: true, provisioning.StageExit: true, provisioning.StageRefused: true,
		provisioning.StageNBP: false, provisioning.StageKernel: false,
	} {
		s, c := storetest.SQLite(t), &clock{storetest.Noon}
		r := run(t, s, c.now)
		r.Record(provisioning.Event{At: storetest.Noon, MAC: storetest.MAC(9), Stage: stage, Machine: provisioning.Machine{Arch: "UEFI x64"}})
		r.stop()
		d, err := s.Seen(t.Context(), storetest.MAC(9))
		if (err == nil) != want || want && d.Arch != "UEFI x64" {
			t.Errorf("%s: %+v, %v", stage, d, err)
		}
	}
}

func TestRecorderHoldsBackRepeats(t *testing.T) {
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	r := run(t, s, c.now)
	refusal := provisioning.Event{At: storetest.Noon, MAC: storetest.MAC(1), Stage: provisioning.StageRefused, Detail: "no kernel"}
	for range 10 {
		r.Record(refusal)
	}
	others := []provisioning.Event{refusal, refusal, refusal}
	others[0].MAC = storetest.MAC(2)
	others[1].Detail = "something else"
	others[2].At = storetest.Noon.Add(2 * time.Minute)
	for _, e := range others {
		r.Record(e)
	}
	r.stop()
	others[2].Held = 9
	wantEvents(t, stored(t, s), append([]provisioning.Event{refusal}, others...)...)
	if got := count(t, r, "farmboot_events_dropped_total", "repeat"); got != 9 {
		t.Errorf("%v repeats counted, want 9", got)
	}
}

// TestRefusalsAreBounded: whoever is refused chooses the words, and his name.
func TestRefusalsAreBounded(t *testing.T) {
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	r := run(t, s, c.now)
	for i := range 1000 {
		r.Record(provisioning.Event{At: c.t, Peer: peer7, Stage: provisioning.StageRefused, Detail: fmt.Sprintf("missing kernel x%d.efi", i)})
	}
	if got := count(t, r, "farmboot_events_dropped_total", "flood"); got != 1000-20 {
		t.Errorf("one address: %v refusals are dropped, want all but 20", got)
	}
	for i := range 3000 {
		r.Record(provisioning.Event{At: c.t, MAC: storetest.MAC(i + 1), Stage: provisioning.StageRefused, Detail: "unknown architecture"})
	}
	if got := count(t, r, "farmboot_events_dropped_total", "flood"); got != 1000+3000-1000 {
		t.Errorf("many names: %v refusals are dropped, want all but 1000", got)
	}
	c.t = c.t.Add(time.Minute)
	r.Record(provisioning.Event{At: c.t, Peer: peer7, Stage: provisioning.StageRefused, Detail: "missing kernel late.efi"})
	r.stop()
	if events := stored(t, s); len(events) != 1001 || events[1000].Detail != "missing kernel late.efi" {
		t.Errorf("%d events are stored", len(events))
	}
}

// TestEveryStepIsALineOfTheLog, once.
func TestEveryStepIsALineOfTheLog(t *testing.T) {
	var log strings.Builder
	text := slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	r := recorder.New(storetest.SQLite(t), recorder.Retention{}, slog.New(text), prometheus.NewRegistry(), time.Now)
	mac := storetest.MAC(1)
	for _, e := range []provisioning.Event{
		{MAC: mac, Stage: provisioning.StageDiscover, Detail: "UEFI x64"},
		{MAC: mac, Stage: provisioning.StageOffer, Detail: "ipxe.efi"},
		{MAC: mac, Peer: peer7, Stage: provisioning.StageScript},
		{Peer: peer7, Stage: provisioning.StageKernel, Detail: "prod.efi", Bytes: 10, Size: 10, Duration: time.Second},
		{Peer: peer7, Stage: provisioning.StageRefused, Detail: "no such file"},
		{Peer: peer7, Stage: provisioning.StageRefused, Detail: "no such file"},
	} {
		r.Record(e)
	}
	const want = `level=INFO msg=boot stage=offer mac=52:54:00:00:00:01 detail=ipxe.efi
level=INFO msg=boot stage=script mac=52:54:00:00:00:01 peer=10.0.0.7
level=INFO msg=boot stage=kernel mac=52:54:00:00:00:01 peer=10.0.0.7 detail=prod.efi bytes=10 size=10 dur=1s
level=WARN msg=boot stage=refused mac=52:54:00:00:00:01 peer=10.0.0.7 detail="no such file"
`
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// TestAFloodDoesNotFillTheLog, which says how much it left out.
func TestAFloodDoesNotFillTheLog(t *testing.T) {
	var log strings.Builder
	c := &clock{storetest.Noon}
	r := recorder.New(storetest.SQLite(t), recorder.Retention{}, slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry(), c.now)
	for i := range 10_000 {
		r.Record(provisioning.Event{MAC: storetest.MAC(i + 1), Stage: provisioning.StageOffer, Detail: "ipxe.efi"})
	}
	if n := strings.Count(log.String(), "\n"); n != 3000 {
		t.Errorf("%d lines", n)
	}
	log.Reset()
	c.t = c.t.Add(time.Second)
	r.Record(provisioning.Event{MAC: storetest.MAC(1), Stage: provisioning.StageOffer, Detail: "ipxe.efi"})
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "lines=7000") {
		t.Errorf("log %s", text)
	}
}

func TestRecorderCleansWhatClientsSay(t *testing.T) {
	s := storetest.SQLite(t)
	r := run(t, s, time.Now)
	r.Record(provisioning.Event{At: storetest.Noon, MAC: storetest.MAC(1), Stage: provisioning.StageRefused, Detail: "a\x1b[31m\x00b\xff\n" + strings.Repeat("x", 1000)})
	r.stop()
	wantEvents(t, stored(t, s), provisioning.Event{
		At: storetest.Noon, MAC: storetest.MAC(1), Stage: provisioning.StageRefused, Detail: "a?[31m?b??" + strings.Repeat("x", 490) + "…",
	})
}

func TestSubscribersGetEventsWithIDs(t *testing.T) {
	s := storetest.SQLite(t)
	r := run(t, s, time.Now)
	all, cancel := r.Subscribe(provisioning.MAC{})
	defer cancel()
	one, cancelOne := r.Subscribe(storetest.MAC(2))
	defer cancelOne()
	for i := range 3 {
		r.Record(provisioning.Event{MAC: storetest.MAC(i), Stage: provisioning.StageOffer})
	}
	last := int64(0)
	for i := range 3 {
		e := receive(t, all)
		if e.MAC != storetest.MAC(i) || e.ID <= last {
			t.Errorf("event %+v, want that of %v, with an ID above %d", e, storetest.MAC(i), last)
		}
		last = e.ID
	}
	if e := receive(t, one); e.MAC != storetest.MAC(2) {
		t.Errorf("event %+v, want that of %v only", e, storetest.MAC(2))
	}
	cancel()
	cancel() // does nothing
	if _, open := <-all; open {
		t.Error("the channel is open after cancel")
	}
	r.stop()
	if _, open := <-one; open {
		t.Error("the channel is open after the end")
	}
}

// TestSubscribersGetForeignEvents stores an event as another process would.
func TestSubscribersGetForeignEvents(t *testing.T) {
	s := storetest.SQLite(t)
	r := run(t, s, time.Now)
	events, cancel := r.Subscribe(provisioning.MAC{})
	defer cancel()
	r.Record(provisioning.Event{MAC: storetest.MAC(1), Stage: provisioning.StageOffer})
	receive(t, events) // so it is running
	err := s.Update(t.Context(), func(tx provisioning.Tx) error {
		return boots.AddEvents(t.Context(), tx, []provisioning.Event{{At: storetest.Noon, MAC: storetest.MAC(2), Stage: provisioning.StageClaim}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := receive(t, events); e.Stage != provisioning.StageClaim {
		t.Errorf("event %+v, want the claim", e)
	}
}

func TestSlowSubscribersAreDropped(t *testing.T) {
	r := run(t, storetest.SQLite(t), time.Now)
	slow, cancel := r.Subscribe(provisioning.MAC{})
	defer cancel()
	quick, cancelQuick := r.Subscribe(storetest.MAC(1))
	defer cancelQuick()
	for range 3000 {
		r.Record(provisioning.Event{MAC: storetest.MAC(2), Stage: provisioning.StageOffer})
	}
	r.Record(provisioning.Event{MAC: storetest.MAC(1), Stage: provisioning.StageOffer})
	receive(t, quick) // all that were recorded before have been handed out
	var got []provisioning.Event
	for e := range slow { // it is closed: else this would not end
		got = append(got, e)
	}
	if n := len(got); n != 1024 || got[n-1].Stage != provisioning.StageDropped {
		t.Errorf("%d events, the last %+v; want a full queue that ends with %q", n, got[n-1], provisioning.StageDropped)
	}
}

// broken is a store whose writes fail for a while.
type broken struct {
	provisioning.Store
	mu   sync.Mutex
	fail bool
}

func (b *broken) set(fail bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = fail
}

func (b *broken) UpdateUnsynced(ctx context.Context, fn func(provisioning.Tx) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail {
		return provisioning.Errorf(provisioning.Unavailable, "disk full")
	}
	return b.Store.UpdateUnsynced(ctx, fn)
}

// TestWhatWaitsOutlivesAFailure: a failure costs what was to be stored then, once a second, and
// neither those who watch nor those who read make it more.
func TestWhatWaitsOutlivesAFailure(t *testing.T) {
	const recorded = 20_000
	for _, watched := range []bool{false, true} {
		s := &broken{Store: storetest.SQLite(t), fail: true}
		metrics := prometheus.NewRegistry()
		r := &running{Recorder: recorder.New(s, recorder.Retention{}, slog.New(slog.DiscardHandler), metrics, time.Now), metrics: metrics}
		for i := range recorded {
			r.Record(provisioning.Event{MAC: storetest.MAC(i), Stage: provisioning.StageOffer})
		}
		if watched {
			_, stop := r.Subscribe(storetest.MAC(recorded))
			defer stop()
		}
		ctx, cancel := context.WithCancel(t.Context())
		done, began := make(chan error), time.Now()
		go func() { done <- r.Run(ctx) }()
		lost := func() int { return int(count(t, r, "farmboot_events_dropped_total", "store")) }
		for i := 0; i < 5 || lost() == 0; i++ {
			if _, err := r.Fresh().Events(t.Context(), provisioning.EventQuery{Limit: 1}); err != nil {
				t.Fatal(err)
			}
		}
		s.set(false)
		most := 2048 * (1 + int(time.Since(began)/time.Second))
		if n := lost(); n > most {
			t.Errorf("watched %t: %d of %d are lost, want at most %d", watched, n, recorded, most)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if stored := int(count(t, r, "farmboot_events_stored_total", "")); stored+lost() != recorded {
			t.Errorf("watched %t: %d stored and %d lost of %d", watched, stored, lost(), recorded)
		}
	}
}

// TestEndWhileNothingCanBeStored: what is lost at the end is counted and logged.
func TestEndWhileNothingCanBeStored(t *testing.T) {
	var log strings.Builder
	metrics := prometheus.NewRegistry()
	r := &running{recorder.New(&broken{Store: storetest.SQLite(t), fail: true}, recorder.Retention{}, slog.New(slog.NewTextHandler(&log, nil)), metrics, time.Now), metrics, nil}
	for i := range 5000 {
		r.Record(provisioning.Event{MAC: storetest.MAC(i), Stage: provisioning.StageDiscover}) // which is no line of the log
	}
	r.Flush(t.Context())
	if got := count(t, r, "farmboot_events_dropped_total", "store"); got != 5000 || !strings.Contains(log.String(), "boot events are lost") {
		t.Errorf("%v events counted as lost, want 5000; log:\n%s", got, log.String())
	}
}

// TestRecorderOutlivesAFullDisk: whoever watches still sees events, and the log has
// one line for each turn of events.
func TestRecorderOutlivesAFullDisk(t *testing.T) {
	s := &broken{Store: storetest.SQLite(t)}
	var log strings.Builder
	metrics := prometheus.NewRegistry()
	r := &running{Recorder: recorder.New(s, recorder.Retention{}, slog.New(slog.NewTextHandler(&log, nil)), metrics, time.Now), metrics: metrics}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	events, stop := r.Subscribe(provisioning.MAC{})
	defer stop()
	one := func(n int) provisioning.Event {
		r.Record(provisioning.Event{MAC: storetest.MAC(n), Stage: provisioning.StageOffer})
		return receive(t, events)
	}
	one(1)
	s.set(true)
	if e := one(2); e.MAC != storetest.MAC(2) || e.ID != 0 {
		t.Errorf("event %+v, want one without an ID", e)
	}
	one(3)
	s.set(false)
	if e := one(4); e.MAC != storetest.MAC(4) || e.ID == 0 {
		t.Errorf("event %+v, want one with an ID again", e)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := count(t, r, "farmboot_events_dropped_total", "store"); got != 2 {
		t.Errorf("%v events counted as lost, want 2", got)
	}
	if errs, infos := strings.Count(log.String(), "level=ERROR"), strings.Count(log.String(), "are stored again"); errs != 1 || infos != 1 {
		t.Errorf("the log has %d errors and %d all-clears, want one of each:\n%s", errs, infos, log.String())
	}
}

// TestReadersInTheProcessSeeWhatJustHappened, though it is stored later.
func TestReadersInTheProcessSeeWhatJustHappened(t *testing.T) {
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	r := run(t, s, c.now)
	const all = 3000 // more than one batch
	for i := range all {
		r.Record(provisioning.Event{MAC: storetest.MAC(i + 1), Stage: provisioning.StageDiscover})
	}
	if events := stored(t, r.Fresh()); len(events) != all {
		t.Errorf("%d events are there, want all", len(events))
	}
	if d, err := r.Fresh().Seen(t.Context(), storetest.MAC(all)); err != nil || d.Boots != 1 || d.Code == "" {
		t.Errorf("seen: %+v, %v", d, err)
	}
	r.stop()
	if events := stored(t, r.Fresh()); len(events) != all { // hangs if it waits
		t.Errorf("%d events are there after the end", len(events))
	}
}

// TestRestartKeepsAddresses: a node that boots while the appliance starts anew is known by
// its address, and its kernel belongs to its boot.
func TestRestartKeepsAddresses(t *testing.T) {
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	before := run(t, s, c.now)
	before.Record(provisioning.Event{MAC: storetest.MAC(1), Peer: peer7, Stage: provisioning.StageScript})
	before.stop()
	c.t = c.t.Add(10 * time.Second)
	after := run(t, s, c.now)
	after.Sync(t.Context()) // it has started
	after.Record(provisioning.Event{Peer: peer7, Stage: provisioning.StageKernel, File: "net/prod.efi", Bytes: 1, Size: 1})
	after.stop()
	events := stored(t, s)
	if len(events) != 2 || events[1].MAC != storetest.MAC(1) {
		t.Errorf("events %+v, want both to be the node's", events)
	}
}

// TestForgedAddressesDoNotPileUp: a flood is cut back while it goes on, not with the
// next tick of a clock.
func TestForgedAddressesDoNotPileUp(t *testing.T) {
	s := storetest.SQLite(t)
	r := recorder.New(s, recorder.Retention{Unknown: 10}, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	events, stop := r.Subscribe(provisioning.MAC{})
	defer stop()
	for i := range 30 {
		r.Record(provisioning.Event{MAC: storetest.MAC(i + 1), Stage: provisioning.StageDiscover})
		receive(t, events)
		seen, err := s.Unregistered(t.Context(), 0)
		if err != nil || len(seen) > 10+10/2+2 { // what came in since the last cut, or during it
			t.Fatalf("%d addresses are kept, %v", len(seen), err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRecorderForgetsWhatIsOld(t *testing.T) {
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	err := s.Update(t.Context(), func(tx provisioning.Tx) error {
		add := func(mac provisioning.MAC, at time.Time) error {
			return boots.AddEvents(t.Context(), tx, []provisioning.Event{{At: at, MAC: mac, Stage: provisioning.StageOffer}})
		}
		return errors.Join(
			add(storetest.MAC(1), storetest.Noon.Add(48*time.Hour)), // by a clock that was wrong
			add(storetest.MAC(2), storetest.Noon.Add(-time.Hour)),
			add(storetest.MAC(3), storetest.Noon.Add(-time.Hour)),
			tx.PutSeen(t.Context(), provisioning.Discovered{MAC: storetest.MAC(2), LastSeen: storetest.Noon.Add(-48 * time.Hour), Code: "A"}),
			tx.PutSeen(t.Context(), provisioning.Discovered{MAC: storetest.MAC(3), LastSeen: storetest.Noon, Code: "B"}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	r := recorder.New(s, recorder.Retention{Events: 2, Unknown: 1}, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), c.now)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	events, stop := r.Subscribe(provisioning.MAC{})
	defer stop()
	r.Record(provisioning.Event{MAC: storetest.MAC(4), Stage: provisioning.StageOffer})
	receive(t, events) // after the first round of forgetting
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if left := stored(t, s); len(left) < 2 || len(left) > 3 || !left[0].At.Equal(storetest.Noon.Add(-time.Hour)) {
		t.Errorf("events left: %v, want those that came last, not those whose clock was ahead", left)
	}
	if left, err := s.Unregistered(t.Context(), 0); err != nil || len(left) != 1 || left[0].MAC != storetest.MAC(3) {
		t.Errorf("seen: %v, %v, want the one seen today", left, err)
	}
}
