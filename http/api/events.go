package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"farmboot/provisioning"
)

// listEvents answers GET /api/v1/events, oldest first: those that follow since, or
// the newest there are.
func (a *API) listEvents(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	q := r.URL.Query()
	var eq provisioning.EventQuery
	var err error
	if eq.MAC, err = macOf(q, "mac"); err != nil {
		return err
	}
	if eq.Limit, err = limit(q, page); err != nil {
		return err
	}
	if s := q.Get("since"); s == "" {
		eq.Last = true
	} else if eq.After, eq.Since, err = a.askedSince(r.Context(), s); err != nil {
		return err
	}
	events, err := a.Registry.Events(r.Context(), by, eq)
	if err != nil {
		return err
	}
	if n := len(events); n == eq.Limit && !eq.Last {
		w.Header().Set("X-Next-After", strconv.FormatInt(events[n-1].ID, 10))
	}
	return writeJSON(w, http.StatusOK, list(events))
}

// since reads from when on events are asked for: the ID of the last one that the
// client has, or a time.
func since(s string) (after int64, at time.Time, err error) {
	if id, err := strconv.ParseInt(s, 10, 64); err == nil && id >= 0 {
		return id, time.Time{}, nil
	}
	// A + that is not percent-encoded arrives as a space.
	at, err = time.Parse(time.RFC3339, strings.ReplaceAll(s, " ", "+"))
	if err != nil {
		return 0, at, badSince(s)
	}
	return 0, at, nil
}

func badSince(s string) error {
	return provisioning.Errorf(provisioning.Invalid, "bad since %.40q: accepted are the id of an event, and a time like 2026-11-23T09:00:00Z", s)
}

// askedSince is since of a parameter. A number that is no event's id yet is refused: it
// is a time in seconds, which would be answered with nothing for ever.
func (a *API) askedSince(ctx context.Context, s string) (after int64, at time.Time, err error) {
	if after, at, err = since(s); err != nil || after == 0 {
		return after, at, err
	}
	last, err := a.Registry.LastEventID(ctx)
	if err == nil && after > last {
		err = badSince(s)
	}
	return after, at, err
}

// resume reads where a stream goes on: behind the event that the client saw last
// (header Last-Event-ID, which browsers send by themselves, and which may be of a
// database that was replaced by an older one since), or the parameter since.
func (a *API) resume(ctx context.Context, header, parameter string) (q provisioning.EventQuery, replay bool, err error) {
	switch {
	case header != "":
		q.After, q.Since, err = since(header)
	case parameter != "":
		q.After, q.Since, err = a.askedSince(ctx, parameter)
	default:
		return q, false, nil
	}
	return q, true, err
}
