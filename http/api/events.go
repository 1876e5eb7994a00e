package api

import (
	"cmp"
	"net/http"
	"strconv"
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
	} else if eq.After, eq.Since, err = since(s); err != nil {
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
	at, err = time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, at, provisioning.Errorf(provisioning.Invalid, "bad since %.40q: accepted are the id of an event, and a time like 2026-11-23T09:00:00Z", s)
	}
	return 0, at, nil
}

// resume reads where a stream goes on: behind the event that the client saw last
// (header Last-Event-ID, which browsers send by themselves), or the parameter since.
func resume(header, parameter string) (q provisioning.EventQuery, replay bool, err error) {
	s := cmp.Or(header, parameter)
	if s == "" {
		return q, false, nil
	}
	q.After, q.Since, err = since(s)
	return q, true, err
}
