package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"farmboot/http/api"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
	"farmboot/provisioning/human"
	"farmboot/provisioning/pause"
)

// health knows what of the appliance does not work. The network is asked when somebody
// wants to know, and whether the database's file is in its place; all else is looked at
// from time to time, so that nobody waits for a disk.
type health struct {
	*appliance
	found atomic.Pointer[[]api.Problem]

	// Of the loop alone:
	hadKernels map[string]bool // kernel folders that were there
	verified   time.Time       // when the whole database was read last
	damaged    error           // what that found
}

const (
	healthEvery = 2 * time.Second // how often health looks
	verifyEvery = time.Hour       // how often it reads the whole database
	storeLimit  = time.Second     // what the store may take for an answer
)

// lostDatabase is the problem of a database file that was deleted or replaced.
const lostDatabase = "database file"

// run looks until ctx ends, and returns nil then. It writes a line when something
// ceases to work, and when it works again.
func (h *health) run(ctx context.Context) error {
	var before []api.Problem
	for {
		found := h.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		h.found.Store(&found)
		now := slices.Concat(h.databaseFile(), found)
		for _, p := range now {
			if !slices.Contains(before, p) {
				h.log.Error("something does not work", "what", p.What, "why", p.Why, "stops_boots", p.StopsBoots)
			}
		}
		for _, p := range before {
			if !slices.ContainsFunc(now, func(q api.Problem) bool { return p.What == q.What }) {
				h.log.Info("works again", "what", p.What)
			}
		}
		before = now
		if pause.For(ctx, healthEvery) != nil {
			return nil
		}
	}
}

// look finds what does not work, but for the network and the database's file.
func (h *health) look(ctx context.Context) []api.Problem {
	return slices.Concat(h.database(ctx), h.kernelFolders(), h.disks(freeOf), h.templates(), h.secureBoot(), h.upstreamProblems())
}

// database is about the database.
func (h *health) database(ctx context.Context) []api.Problem {
	if v, ok := h.store.(interface{ Verify(context.Context) error }); ok && h.now().Sub(h.verified).Abs() >= verifyEvery {
		h.verified = h.now()
		h.damaged = v.Verify(ctx)
	}
	err := h.damaged
	if p, ok := h.store.(interface{ Probe(context.Context) error }); ok && err == nil && h.databaseFile() == nil {
		err = p.Probe(ctx)
	}
	if err == nil {
		err = h.checkStore(ctx)
	}
	if err == nil {
		return nil
	}
	why := provisioning.Detail(err) + "; registered nodes may get the default: to restore a backup, stop farmboot, put the backup in the place of the database (farmboot restore FILE) and start it"
	return []api.Problem{{What: "database", Why: why, StopsBoots: true}}
}

// databaseFile is about the file of the database: is it still the one that is open?
func (h *health) databaseFile() []api.Problem {
	if r, ok := h.store.(interface{ Replaced() error }); ok {
		if err := r.Replaced(); err != nil {
			return []api.Problem{{What: lostDatabase, Why: provisioning.Detail(err), StopsBoots: true}}
		}
	}
	return nil
}

func (h *health) checkStore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	_, err := h.store.Node(ctx, provisioning.MAC{})
	if provisioning.ErrorCode(err) == provisioning.NotFound {
		return nil
	}
	return err
}

// secureBoot is about what keeps it from being served though it is switched on: nodes
// that have it off boot all the same.
func (h *health) secureBoot() []api.Problem {
	if h.insecure == nil {
		return nil
	}
	return []api.Problem{{What: "Secure Boot", Why: provisioning.Detail(h.insecure)}}
}

// unanswered is how long upstream may take for an answer before it is called silent.
const unanswered = 5 * time.Second

// upstreamProblems is about an upstream that gives no answer, or kernels that cannot be taken from
// it: nodes boot what is here.
func (h *health) upstreamProblems() (list []api.Problem) {
	if h.upstream == nil {
		return nil
	}
	look := h.upstream.LastLook()
	if since := look.Asked; look.Silent == 0 && !since.IsZero() && h.now().Sub(since) >= unanswered {
		look.Silent, look.Since, look.Refuses = 1, since, false
	}
	for _, c := range h.upstreamFaults(look, 1, 0) {
		list = append(list, api.Problem{What: "upstream", Why: c.Text + "; check: " + strings.Join(c.Cure, "; ")})
	}
	return list
}

// kernelFolders is about kernel folders that were there and are not any more.
func (h *health) kernelFolders() (list []api.Problem) {
	for _, dir := range []string{h.cfg.Kernel.Path, h.cfg.Kernel.NetPath} {
		_, err := os.ReadDir(dir)
		if err == nil {
			h.hadKernels[dir] = true
		} else if h.hadKernels[dir] || !errors.Is(err, os.ErrNotExist) {
			list = append(list, api.Problem{What: "kernels", Why: fmt.Sprintf("the kernel folder is gone or cannot be read: %v", err), StopsBoots: true})
			break
		}
	}
	return list
}

// diskFull is how many bytes have to be free: the database grows by as much at once.
const diskFull = 1 << 20

// disks is about folders of ours whose disk is full: nodes boot, but nothing is stored.
func (h *health) disks(free func(dir string) (int64, error)) []api.Problem {
	for _, dir := range []string{h.cfg.State, h.cfg.Kernel.Path} {
		if n, err := free(dir); err == nil && n < diskFull {
			return []api.Problem{{What: "disk", Why: fmt.Sprintf("the disk of %s is full (%s are free): neither registrations nor kernels can be stored, and the story of boots is lost; nodes boot on", dir, human.Bytes(n))}}
		}
	}
	return nil
}

// freeOf is how many bytes we may still write into a folder.
func freeOf(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// templates is about iPXE's binaries; nodes of most architectures boot without the
// others'.
func (h *health) templates() (list []api.Problem) {
	problems := h.broken.Load()
	if problems == nil {
		return nil
	}
	for file, err := range *problems {
		needed := slices.Contains([]string{filenames.Undionly, filenames.EFI}, file)
		list = append(list, api.Problem{What: "boot file " + file, Why: provisioning.Detail(err), StopsBoots: needed})
	}
	slices.SortFunc(list, func(a, b api.Problem) int { return strings.Compare(a.What, b.What) })
	return list
}

// problems is all that does not work now.
func (h *health) problems() []api.Problem {
	var list []api.Problem
	for _, why := range h.endpoints.problems() {
		list = append(list, api.Problem{What: "network", Why: why, StopsBoots: true})
	}
	list = append(list, h.databaseFile()...)
	if found := h.found.Load(); found != nil {
		list = append(list, *found...)
	}
	return list
}

// unhealthy says in one line why nodes cannot boot from here; "" if they can.
func (h *health) unhealthy(context.Context) string {
	var why []string
	for _, p := range h.problems() {
		if p.StopsBoots {
			why = append(why, oneLine(errors.New(p.What+": "+p.Why)))
		}
	}
	return strings.Join(why, "; ")
}

// report is what the API says.
func (h *health) report() api.Health {
	cfg := *h.live.Load()
	r := api.Health{
		Listeners: slices.Concat(h.fixed, h.endpoints.listeners()),
		Problems:  h.problems(),
		Config:    api.Config{File: cfg.File, Digest: cfg.Digest()},
	}
	if last := h.reread.Load(); last != nil {
		r.Config.Reread = *last
	}
	if r.Problems == nil {
		r.Problems = []api.Problem{}
	}
	if s := h.boot.Turns.State(); s.Waiting > 0 {
		r.Queue = &api.Queue{
			Waiting: s.Waiting, Seconds: int(h.now().Sub(s.Oldest).Seconds()),
			Downloads: s.Downloads, Limit: s.Limit, Rate: int64(s.Rate),
		}
	}
	return r
}

// watchdog tells systemd that we are alive, as often as it asks (sd_watchdog_enabled(3)).
func watchdog(ctx context.Context) error {
	us, err := strconv.Atoi(os.Getenv("WATCHDOG_USEC"))
	if err != nil || us <= 0 {
		return nil // it does not ask
	}
	for {
		notifySystemd("WATCHDOG=1")
		if pause.For(ctx, time.Duration(us)*time.Microsecond/2) != nil {
			return nil
		}
	}
}
