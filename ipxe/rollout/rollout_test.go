package rollout_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"farmboot/ipxe/kernel"
	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/ipxe/rollout"
	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/sqlite"
)

var root = provisioning.Actor{Name: "root", Role: provisioning.RoleAdmin, From: "test"}

// bench is an appliance with a clock of its own.
type bench struct {
	*rollout.Rollout
	t       testing.TB
	file    string
	store   provisioning.Store
	kernels *kernel.Store
	now     time.Time
}

func newBench(t testing.TB) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, file: filepath.Join(dir, "p.db"), now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}
	b.kernels = kernel.Open(filepath.Join(dir, "kernel"), filepath.Join(dir, "kernel", "net"))
	b.restart()
	for _, k := range []string{"v1.efi", "v2.efi", "v3.efi"} {
		if err := b.kernels.Put(k, strings.NewReader(kerneltest.EFI(k)), kernel.Want{}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// restart opens the store anew, as the daemon does when it starts.
func (b *bench) restart() {
	b.t.Helper()
	store, err := sqlite.Open(b.t.Context(), b.file)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = store.Close() })
	clock := func() time.Time { return b.now }
	nodes := registry.New(store, registry.Rules{
		RunModes: provisioning.RunModes{"prod": "", "test": ""}, RunMode: "prod",
		CheckNode: func(provisioning.Node) error { return nil }, Warnings: func(provisioning.Node) []string { return nil },
		KernelExists: func(string) error { return nil },
	}, clock)
	b.store = store
	b.Rollout = rollout.New(store, b.kernels, kernel.NewEditor(b.kernels, nodes), clock)
	for n := range 20 {
		if _, err := nodes.AddNode(b.t.Context(), root, provisioning.Node{MAC: mac(n), RunMode: "prod"}); err != nil && provisioning.ErrorCode(err) != provisioning.Conflict {
			b.t.Fatal(err)
		}
	}
}

func mac(n int) provisioning.MAC { return provisioning.MAC{0x52, 0x54, 0, 0, 0, byte(n)} }

func (b *bench) use(name string) {
	b.t.Helper()
	b.now = b.now.Add(time.Minute)
	clock := func() time.Time { return b.now }
	nodes := registry.New(b.store, registry.Rules{RunModes: provisioning.RunModes{"prod": ""}}, clock)
	if err := kernel.NewEditor(b.kernels, nodes).Point(b.t.Context(), root, "prod", name, false); err != nil {
		b.t.Fatal(err)
	}
}

// boots is the kernel that prod boots.
func (b *bench) boots() string { return b.kernels.FileOf("net/prod.efi") }

// events stores what a node did.
func (b *bench) events(n int, stages ...string) {
	b.t.Helper()
	var events []provisioning.Event
	for _, s := range stages {
		b.now = b.now.Add(time.Second)
		stage, file, _ := strings.Cut(s, " ")
		e := provisioning.Event{At: b.now, MAC: mac(n), Stage: provisioning.Stage(stage), File: file}
		if e.Stage == provisioning.StageKernel {
			e.Bytes, e.Size = 100, 100
		}
		events = append(events, e)
	}
	if err := b.store.Update(b.t.Context(), func(tx provisioning.Tx) error { return boots.AddEvents(b.t.Context(), tx, events) }); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) look() {
	b.t.Helper()
	if _, _, err := b.Look(b.t.Context(), "prod"); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) canary() *rollout.Canary {
	b.t.Helper()
	c, err := b.Canary(b.t.Context(), "prod")
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func TestRollback(t *testing.T) {
	b := newBench(t)
	if _, _, err := b.Rollback(t.Context(), root, "prod"); provisioning.ErrorCode(err) != provisioning.NotFound {
		t.Errorf("of nothing: %v", err)
	}
	b.use("v1.efi")
	b.use("v2.efi")
	b.use("v3.efi")
	for _, want := range []string{"v2.efi", "v1.efi"} {
		if _, to, err := b.Rollback(t.Context(), root, "prod"); err != nil || to.Kernel != want || b.boots() != want {
			t.Errorf("back to %s, %v: prod boots %s, want %s", to.Kernel, err, b.boots(), want)
		}
	}
	if _, _, err := b.Rollback(t.Context(), root, "prod"); provisioning.ErrorCode(err) != provisioning.NotFound || b.boots() != "v1.efi" {
		t.Errorf("further back: %v, prod boots %s", err, b.boots())
	}
	b.use("v3.efi")
	b.use("v2.efi")
	if err := b.kernels.Remove("v3.efi"); err != nil {
		t.Fatal(err)
	}
	if _, to, err := b.Rollback(t.Context(), root, "prod"); err != nil || to.Kernel != "v1.efi" {
		t.Errorf("past a kernel that has gone: %s, %v", to.Kernel, err)
	}
	list, err := b.History(t.Context(), "prod")
	if err != nil || len(list) != 8 || list[0].Kernel != "v1.efi" || list[0].By != "root" || list[0].Since.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestHistoryCounts(t *testing.T) {
	b := newBench(t)
	b.use("v1.efi")
	b.events(1, "script", "kernel net/prod.efi", "up")
	b.events(2, "script", "kernel net/prod.efi", "discover", "script", "kernel net/prod.efi")
	b.use("v2.efi")
	b.events(1, "discover", "script", "kernel net/prod.efi", "up")
	list, err := b.History(t.Context(), "prod")
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if got := fmt.Sprint(list[0].Boots, list[0].Failed, list[1].Boots, list[1].Failed); got != "1 0 3 1" {
		t.Errorf("boots and failures %s", got)
	}
}

func TestCanarySides(t *testing.T) {
	b := newBench(t)
	if _, err := b.Start(t.Context(), root, "prod", "v2.efi", "5%"); provisioning.ErrorCode(err) != provisioning.Conflict {
		t.Errorf("with nothing for the others: %v", err)
	}
	b.use("v1.efi")
	for which, code := range map[string]provisioning.Code{
		"0": provisioning.Invalid, "-1": provisioning.Invalid, "21": provisioning.Invalid, "0%": provisioning.Invalid, "101%": provisioning.Invalid, "NaN%": provisioning.Invalid, "some": provisioning.Invalid,
	} {
		if _, err := b.Start(t.Context(), root, "prod", "v2.efi", which); provisioning.ErrorCode(err) != code {
			t.Errorf("%s: %v", which, err)
		}
	}
	if _, err := b.Start(t.Context(), root, "prod", "v1.efi", "5"); provisioning.ErrorCode(err) != provisioning.Conflict {
		t.Errorf("what it boots already: %v", err)
	}
	for which, want := range map[string]int{"5": 5, "100%": 20, "0.0001%": 1, "52:54:00:00:00:01, 5254.0000.0002": 2} {
		if _, err := b.Start(t.Context(), root, "prod", "v2.efi", which); err != nil {
			t.Fatal(err)
		}
		sides := func() (n int, list string) {
			for i := range 20 {
				a := b.Assign(t.Context(), provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: mac(i), RunMode: "prod"}})
				if a.Candidate != (a.Node.Kernel == "v2.efi") {
					t.Errorf("%+v", a)
				}
				if a.Candidate {
					n++
					list += a.Node.MAC.String() + " "
				}
			}
			return n, list
		}
		n, before := sides()
		if n != want || b.canary().Known != want {
			t.Errorf("%s: %d nodes boot it, known %d, want %d", which, n, b.canary().Known, want)
		}
		b.restart()
		if _, after := sides(); after != before {
			t.Errorf("after a restart %s, before %s", after, before)
		}
		if which == "0.0001%" { // that one is registered makes the share of the others no larger
			for i := range 1000 {
				if mac := (provisioning.MAC{0x52, 0x54, 1, 0, byte(i >> 8), byte(i)}); b.canary().Selects(mac) {
					t.Errorf("%s: %s would try it too", which, mac)
				}
			}
		}
	}
	own := b.Assign(t.Context(), provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: mac(1), RunMode: "prod", Kernel: "own.efi"}})
	if own.Node.Kernel != "own.efi" || own.Candidate {
		t.Errorf("a node with a kernel of its own: %+v", own)
	}
}

func TestCanaryIsPromoted(t *testing.T) {
	b := newBench(t)
	b.use("v1.efi")
	if _, err := b.Start(t.Context(), root, "prod", "v2.efi", "52:54:00:00:00:01,52:54:00:00:00:02,52:54:00:00:00:03"); err != nil {
		t.Fatal(err)
	}
	b.events(1, "script", "kernel v2.efi", "up")
	b.events(2, "script", "kernel v2.efi") // it never says that it is up
	b.events(9, "script", "kernel v2.efi", "up")
	b.now = b.now.Add(time.Hour)
	b.look()
	if b.canary() == nil || b.boots() != "v1.efi" {
		t.Errorf("one of three has proven it, and prod boots %s", b.boots())
	}
	b.events(3, "script", "kernel v2.efi", "up")
	b.look()
	if b.canary() == nil {
		t.Error("promoted before ten minutes have passed")
	}
	b.now = b.now.Add(11 * time.Minute)
	b.restart()
	b.look()
	if b.canary() != nil || b.boots() != "v2.efi" {
		t.Errorf("canary %+v, prod boots %s", b.canary(), b.boots())
	}
}

func TestCanaryIsTakenBack(t *testing.T) {
	b := newBench(t)
	b.use("v1.efi")
	if _, err := b.Start(t.Context(), root, "prod", "v2.efi", "52:54:00:00:00:01"); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if b.canary() == nil {
			t.Fatalf("taken back after %d boots", i)
		}
		b.events(1, "discover", "script", "kernel v2.efi")
		b.look()
	}
	if b.canary() != nil || b.boots() != "v1.efi" {
		t.Errorf("canary %+v, prod boots %s", b.canary(), b.boots())
	}
	changes, err := b.store.Changes(t.Context(), provisioning.ChangeQuery{Subject: "canary prod", Limit: 1})
	if err != nil || len(changes) != 1 || changes[0].Action != "kernel taken back" || !strings.Contains(string(changes[0].Before), `"failures":3`) {
		t.Errorf("history %+v, %v", changes, err)
	}
	if _, err := b.TakeBack(t.Context(), root, "prod"); provisioning.ErrorCode(err) != provisioning.NotFound {
		t.Error(err)
	}
}

// TestPromoteWhatWasTried: not another file that has its name by now.
func TestPromoteWhatWasTried(t *testing.T) {
	b := newBench(t)
	b.use("v1.efi")
	_, err := b.Start(t.Context(), root, "prod", "v2.efi", "1")
	if err := errors.Join(err, b.kernels.Put("v2.efi", strings.NewReader(kerneltest.EFI("another")), kernel.Want{})); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Promote(t.Context(), root, "prod"); provisioning.ErrorCode(err) != provisioning.Conflict || b.boots() != "v1.efi" {
		t.Errorf("%v, prod boots %s", err, b.boots())
	}
}

// starts tries a kernel on nodes.
func (b *bench) starts(name, which string) {
	b.t.Helper()
	if _, err := b.Start(b.t.Context(), root, "prod", name, which); err != nil {
		b.t.Fatal(err)
	}
}

// ended tells how the last canary ended.
func (b *bench) ended() string {
	b.t.Helper()
	if c := b.canary(); c != nil {
		return "goes on"
	}
	changes, err := b.store.Changes(b.t.Context(), provisioning.ChangeQuery{Subject: "canary prod", Limit: 1})
	if err != nil || len(changes) != 1 {
		b.t.Fatalf("%+v, %v", changes, err)
	}
	return changes[0].Action
}

// TestSilentNodes: kernels that crash wait for two hours before they netboot again, so
// that nothing is heard of their nodes. They have failed after ten minutes, and a kernel
// that only went out proves nothing.
func TestSilentNodes(t *testing.T) {
	b := newBench(t)
	b.use("v1.efi")
	b.starts("v2.efi", "5")
	for _, n := range b.canary().Nodes[:3] {
		b.events(int(n[5]), "discover", "script", "kernel v2.efi")
	}
	b.look()
	if got := b.ended(); got != "goes on" {
		t.Errorf("at once: %s", got)
	}
	b.now = b.now.Add(11 * time.Minute)
	b.look()
	if got := b.ended(); got != "kernel taken back" || b.boots() != "v1.efi" {
		t.Errorf("after eleven minutes: %s, prod boots %s", got, b.boots())
	}
}

// TestCrashAfterUp: a node that is up each time, and netboots again each time within
// minutes, does not run. Once proves nothing: somebody may have told it to.
func TestCrashAfterUp(t *testing.T) {
	b := newBench(t)
	b.use("v1.efi")
	b.starts("v2.efi", "52:54:00:00:00:01")
	for range 2 {
		b.events(1, "discover", "script", "kernel v2.efi", "up")
	}
	b.look()
	if c := b.canary(); c == nil {
		t.Fatal("once is too many")
	} else if err := b.Fared(t.Context(), c); err != nil || c.Failed != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	for range 3 {
		b.events(1, "discover", "script", "kernel v2.efi", "up")
	}
	b.look()
	if got := b.ended(); got != "kernel taken back" {
		t.Errorf("a crash loop: %s", got)
	}
}

// TestUseEndsACanary: what somebody chose since is not replaced by what was tried; and
// neither is what was put in place in another way, as upstream does.
func TestUseEndsACanary(t *testing.T) {
	b := newBench(t)
	b.use("v1.efi")
	b.starts("v2.efi", "1")
	if err := b.Use(t.Context(), root, "prod", "v3.efi", false); err != nil || b.ended() != "kernel taken back" {
		t.Errorf("%s, %v", b.ended(), err)
	}
	b.starts("v2.efi", "1")
	if err := b.Use(t.Context(), root, "prod", "v2.efi", false); err != nil || b.ended() != "kernel promote" || b.boots() != "v2.efi" {
		t.Errorf("%s, %v, prod boots %s", b.ended(), err, b.boots())
	}
	b.starts("v3.efi", "52:54:00:00:00:01")
	b.events(1, "script", "kernel v3.efi", "up")
	b.now = b.now.Add(time.Hour)
	b.use("v1.efi")
	b.look()
	if b.boots() != "v1.efi" || b.ended() != "goes on" {
		t.Errorf("prod boots %s, the canary: %s", b.boots(), b.ended())
	}
}

// TestKilled: a rollback and a promotion that were killed before they were written down
// are whole all the same.
func TestKilled(t *testing.T) {
	b := newBench(t)
	b.use("v1.efi")
	b.use("v2.efi")
	b.use("v3.efi")
	if err := b.kernels.Point("prod", "v2.efi", false); err != nil { // as far as a rollback came
		t.Fatal(err)
	}
	if _, to, err := b.Rollback(t.Context(), root, "prod"); err != nil || to.Kernel != "v1.efi" {
		t.Errorf("back to %s, %v: not to what was gone back from", to.Kernel, err)
	}
	b.starts("v2.efi", "52:54:00:00:00:01")
	b.events(1, "script", "kernel v2.efi", "up")
	b.now = b.now.Add(time.Hour)
	if err := b.kernels.Point("prod", "v2.efi", false); err != nil { // as far as a promotion came
		t.Fatal(err)
	}
	b.restart()
	b.look()
	if b.ended() != "kernel promote" || b.boots() != "v2.efi" {
		t.Errorf("%s, prod boots %s", b.ended(), b.boots())
	}
}

// TestRealFile: a run mode's default that is a file, not a link, is not lost.
func TestRealFile(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(filepath.Dir(b.file), "kernel", "net", "prod.efi")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(kerneltest.EFI("a file")), 0o644)); err != nil {
		t.Fatal(err)
	}
	b.starts("v2.efi", "1")
	if _, err := b.Promote(t.Context(), root, "prod"); err != nil || b.boots() != "v2.efi" {
		t.Fatalf("prod boots %s, %v", b.boots(), err)
	}
	if _, _, err := b.Rollback(t.Context(), root, "prod"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != kerneltest.EFI("a file") {
		t.Errorf("prod boots %.20q, %v", got, err)
	}
}

// TestTwoAppliances share the database, and have kernel folders of their own.
func TestTwoAppliances(t *testing.T) {
	a := newBench(t)
	dir := t.TempDir()
	kernels := kernel.Open(filepath.Join(dir, "kernel"), filepath.Join(dir, "kernel", "net"))
	for _, k := range []string{"v1.efi", "v2.efi"} {
		if err := kernels.Put(k, strings.NewReader(kerneltest.EFI(k)), kernel.Want{}); err != nil {
			t.Fatal(err)
		}
	}
	clock := func() time.Time { return a.now }
	nodes := registry.New(a.store, registry.Rules{RunModes: provisioning.RunModes{"prod": ""}}, clock)
	b := rollout.New(a.store, kernels, kernel.NewEditor(kernels, nodes), clock)
	a.use("v1.efi")
	if err := kernels.Point("prod", "v1.efi", false); err != nil {
		t.Fatal(err)
	}
	a.starts("v2.efi", "52:54:00:00:00:01")
	node := provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: mac(1), RunMode: "prod"}}
	if !a.Assign(t.Context(), node).Candidate || !b.Assign(t.Context(), node).Candidate {
		t.Error("they disagree about a node")
	}
	look := func() {
		t.Helper()
		a.look()
		if _, _, err := b.Look(t.Context(), "prod"); err != nil {
			t.Fatal(err)
		}
	}
	look()
	a.events(1, "script", "kernel v2.efi", "up")
	a.now = a.now.Add(time.Hour)
	look()
	if a.boots() != "v2.efi" || kernels.FileOf("net/prod.efi") != "v2.efi" || a.ended() != "kernel promote" {
		t.Errorf("%s: one boots %s, the other %s", a.ended(), a.boots(), kernels.FileOf("net/prod.efi"))
	}
	// One that did not run meanwhile does it when it starts.
	again := func() {
		t.Helper()
		b = rollout.New(a.store, kernels, kernel.NewEditor(kernels, nodes), clock)
		look()
	}
	if err := kernels.Point("prod", "v1.efi", false); err != nil {
		t.Fatal(err)
	}
	again()
	if kernels.FileOf("net/prod.efi") != "v2.efi" {
		t.Error("one that starts later does not boot what was promoted")
	}
	// The other one goes back: nobody undoes that, then or at the next start.
	if _, _, err := b.Rollback(t.Context(), root, "prod"); err != nil {
		t.Fatal(err)
	}
	look()
	again()
	if kernels.FileOf("net/prod.efi") != "v1.efi" {
		t.Error("a rollback was undone")
	}
}

// TestOneOfTwoEndsIt: of two appliances that find out at once that a canary is to end, one
// says so.
func TestOneOfTwoEndsIt(t *testing.T) {
	for name, stages := range map[string][]string{"promoted": {"script", "kernel v2.efi", "up"}, "taken back": {"script", "kernel v2.efi", "script", "kernel v2.efi", "script", "kernel v2.efi", "script"}} {
		t.Run(name, func(t *testing.T) {
			a := newBench(t)
			a.use("v1.efi")
			a.starts("v2.efi", "52:54:00:00:00:01")
			a.events(1, stages...)
			a.now = a.now.Add(time.Hour)
			clock := func() time.Time { return a.now }
			rules := registry.Rules{RunModes: provisioning.RunModes{"prod": ""}}
			var looking sync.WaitGroup
			var ended atomic.Int64
			for range 8 {
				store, err := sqlite.Open(t.Context(), a.file)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = store.Close() })
				dir := t.TempDir()
				kernels := kernel.Open(filepath.Join(dir, "kernel"), filepath.Join(dir, "kernel", "net"))
				for _, k := range []string{"v1.efi", "v2.efi"} {
					if err := kernels.Put(k, strings.NewReader(kerneltest.EFI(k)), kernel.Want{}); err != nil {
						t.Fatal(err)
					}
				}
				if err := kernels.Point("prod", "v1.efi", false); err != nil {
					t.Fatal(err)
				}
				r := rollout.New(store, kernels, kernel.NewEditor(kernels, registry.New(store, rules, clock)), clock)
				looking.Go(func() {
					if _, v, err := r.Look(t.Context(), "prod"); err != nil {
						t.Error(err)
					} else if v != rollout.GoOn {
						ended.Add(1)
					}
				})
			}
			looking.Wait()
			if ended.Load() != 1 {
				t.Errorf("%d of them ended it", ended.Load())
			}
		})
	}
}

// TestNeeds: a candidate is not removed, and what to go back needs is known step by step.
func TestNeeds(t *testing.T) {
	b := newBench(t)
	editor := kernel.NewEditor(b.kernels, registry.New(b.store, registry.Rules{RunModes: provisioning.RunModes{"prod": ""}}, func() time.Time { return b.now }))
	b.Rollout = rollout.New(b.store, b.kernels, editor, func() time.Time { return b.now })
	for _, k := range []string{"v1.efi", "v2.efi", "v3.efi"} {
		b.use(k)
	}
	needs := func(steps int) (list string) {
		for _, k := range []string{"v1.efi", "v2.efi", "v3.efi"} {
			switch err := editor.Needs(t.Context(), k, steps); {
			case err == nil:
			case provisioning.ErrorCode(err) != provisioning.Conflict:
				t.Error(err)
			default:
				list += k[:2]
			}
		}
		return list
	}
	for steps, want := range []string{"", "v2", "v1v2", "v1v2"} {
		if got := needs(steps); got != want {
			t.Errorf("within %d steps %q, want %q", steps, got, want)
		}
	}
	if err := b.kernels.Put("v4.efi", strings.NewReader(kerneltest.EFI("v4.efi")), kernel.Want{}); err != nil {
		t.Fatal(err)
	}
	b.starts("v4.efi", mac(1).String())
	if err := editor.Remove(t.Context(), root, "v4.efi"); provisioning.ErrorCode(err) != provisioning.Conflict || !strings.Contains(err.Error(), "run mode prod tries it") {
		t.Error(err)
	}
	if _, err := b.TakeBack(t.Context(), root, "prod"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(editor.Remove(t.Context(), root, "v4.efi"), editor.Remove(t.Context(), root, "v2.efi")); err != nil {
		t.Fatal(err)
	}
	if _, to, err := b.Before(t.Context(), "prod"); err != nil || to.Kernel != "v1.efi" {
		t.Errorf("prod goes back to %s, %v", to.Kernel, err)
	}
}

// TestStoreFails: a node keeps its side while the store does not answer.
func TestStoreFails(t *testing.T) {
	b := newBench(t)
	b.use("v1.efi")
	b.starts("v2.efi", "52:54:00:00:00:01")
	node := func(n int) provisioning.Assignment {
		return b.Assign(t.Context(), provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: mac(n), RunMode: "prod"}})
	}
	if !node(1).Candidate {
		t.Fatal("it has no candidate")
	}
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	if !node(1).Candidate || node(2).Candidate {
		t.Error("nodes changed sides")
	}
}

// TestNodesThatWouldNotTry are refused when they are named.
func TestNodesThatWouldNotTry(t *testing.T) {
	b := newBench(t)
	b.use("v1.efi")
	if err := b.store.Update(t.Context(), func(tx provisioning.Tx) error {
		return errors.Join(tx.PutNode(t.Context(), provisioning.Node{MAC: mac(1), RunMode: "test"}), tx.PutNode(t.Context(), provisioning.Node{MAC: mac(2), RunMode: "prod", Kernel: "own.efi"}))
	}); err != nil {
		t.Fatal(err)
	}
	for n, words := range map[int]string{1: "boots run mode test", 2: "has a kernel of its own, own.efi"} {
		if _, err := b.Start(t.Context(), root, "prod", "v2.efi", mac(n).String()); provisioning.ErrorCode(err) != provisioning.Invalid || !strings.Contains(err.Error(), words) {
			t.Errorf("node %d: %v", n, err)
		}
	}
}

// BenchmarkAssign: what a look-up of the candidate costs each /provision of a farm that
// tries nothing, with a long history of other changes.
func BenchmarkAssign(b *testing.B) {
	s := newBench(b)
	if err := s.store.Update(b.Context(), func(tx provisioning.Tx) error {
		for i := range 20_000 {
			if err := tx.AddChange(b.Context(), provisioning.Change{At: s.now, Action: "node set", Subject: mac(i).String()}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	a := provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: mac(1), RunMode: "prod"}}
	for b.Loop() {
		if s.Assign(b.Context(), a).Candidate {
			b.Fatal("there is no candidate")
		}
	}
}
