package api

import (
	"context"
	"net/http"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/rights"
)

// Health is how the appliance is.
type Health struct {
	Listeners []Listener `json:"listeners"`
	Problems  []Problem  `json:"problems"`
	Config    Config     `json:"config"`
	Queue     *Queue     `json:"queue,omitempty"` // nil: no node waits for its kernel
}

// Queue is the nodes that wait for their turn to fetch their kernels.
type Queue struct {
	Waiting   int   `json:"waiting"`
	Seconds   int   `json:"seconds"`          // that the oldest has waited
	Downloads int   `json:"downloads"`        // under way
	Limit     int   `json:"limit"`            // as many fetch their kernels at once
	Rate      int64 `json:"bytes_per_second"` // measured, of all downloads
}

// Listener is a socket that is open.
type Listener struct {
	Service   string `json:"service"`             // http, proxydhcp …
	Address   string `json:"address"`             // "udp 10.77.0.2:69"; "unix" and a path
	Interface string `json:"interface,omitempty"` // that it is bound to
}

// Problem is something that does not work.
type Problem struct {
	What       string `json:"what"`        // network, database …
	Why        string `json:"why"`         // one line, with what to do
	StopsBoots bool   `json:"stops_boots"` // nodes cannot boot from here, or not all, or not as registered
}

// Config is the configuration that the daemon runs with.
type Config struct {
	File   string `json:"file"`   // "": none, all defaults
	Digest string `json:"digest"` // differs as soon as one value does
	Reread
}

// Reread is what the file said when it was read again, without a restart; empty: it was not.
type Reread struct {
	// NeedsRestart are the keys that it had other values for, which the daemon takes when it
	// is started anew.
	NeedsRestart []string `json:"needs_restart,omitempty"`
	RereadDigest string   `json:"reread_digest,omitempty"` // as Config.Digest, of all that it said
	Refused      string   `json:"refused,omitempty"`       // why nothing of it was taken
}

// Status is what GET /api/v1/status answers.
type Status struct {
	Version  string                `json:"version"`
	Time     string                `json:"time"`
	Role     provisioning.Role     `json:"role"`
	Farmer   provisioning.FarmerID `json:"farmer,omitempty"`
	RunModes []RunMode             `json:"runmodes"`
	// Unconfigured are the run modes of nodes that are none of RunModes.
	Unconfigured []provisioning.Unconfigured `json:"unconfigured,omitempty"`
	*Health                                  // for admins
}

// RunMode is a run mode, and whether it has a default kernel.
type RunMode struct {
	RunMode   string `json:"runmode"`
	Name      string `json:"name"`
	Kernel    bool   `json:"kernel"`
	Missing   string `json:"missing,omitempty"`   // why it has none, to be read behind the run mode
	Doubt     string `json:"doubt,omitempty"`     // why that may be no kernel, to be read behind the run mode
	Candidate string `json:"candidate,omitempty"` // kernel that some of its nodes try
	Held      string `json:"held,omitempty"`      // upstream's kernel, where somebody gave it another one
}

// status answers GET /api/v1/status.
func (a *API) status(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	s := Status{Version: a.Version, Time: a.Now().UTC().Format("2006-01-02T15:04:05Z"), Role: by.Role, Farmer: by.Farmer}
	modes := a.Composer().RunModes
	for _, mode := range modes.Ordered() {
		about := RunMode{RunMode: string(mode), Name: modes[mode], Kernel: true}
		lack, doubt := a.Kernels.Judge(mode)
		if about.Doubt = doubt; lack != nil {
			about.Kernel, about.Missing = false, lack.Why()
		}
		if c := a.Rollout.Current(r.Context(), mode); c != nil {
			about.Candidate = c.Kernel
		}
		if a.Held != nil {
			about.Held = a.Held(mode)
		}
		s.RunModes = append(s.RunModes, about)
	}
	s.Unconfigured = a.unconfigured(r.Context(), by)
	if rights.All(by) {
		if a.Sync != nil {
			a.Sync(r.Context())
		}
		s.Health = new(a.Health())
	}
	return writeJSON(w, http.StatusOK, s)
}

// unconfiguredLimit is how long a status waits to hear of run modes.
const unconfiguredLimit = 500 * time.Millisecond

// unconfigured lists the run modes that nodes have and the configuration does not. A status is
// what tells of a database that fails: it does not fail with it.
func (a *API) unconfigured(ctx context.Context, by provisioning.Actor) []provisioning.Unconfigured {
	ctx, cancel := context.WithTimeout(ctx, unconfiguredLimit)
	defer cancel()
	list, err := a.Registry.Unconfigured(ctx, by)
	if err != nil {
		return nil
	}
	return list
}
